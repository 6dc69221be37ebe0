"""A version of the file -> the statements that lead to the next one."""

from __future__ import annotations

_FIRST = (
    """CREATE TABLE groups (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fingerprint TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        level INTEGER NOT NULL,
        logger TEXT NOT NULL,
        place TEXT NOT NULL,
        function TEXT NOT NULL,
        route TEXT,
        count INTEGER NOT NULL,
        reported INTEGER NOT NULL DEFAULT 0,
        first_seen REAL NOT NULL,
        last_seen REAL NOT NULL,
        last_reported REAL,
        resolved INTEGER NOT NULL DEFAULT 0,
        reopened INTEGER NOT NULL DEFAULT 0,
        resolved_at REAL
    )""",
    "CREATE INDEX groups_by_time ON groups (last_seen)",
    "CREATE INDEX groups_unreported ON groups (last_seen) WHERE count > reported AND NOT resolved",
    """CREATE TABLE samples (
        id INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        error_id TEXT NOT NULL,
        created REAL NOT NULL,
        data TEXT NOT NULL
    )""",
    "CREATE INDEX samples_by_group ON samples (group_id)",
    "CREATE INDEX samples_by_error_id ON samples (error_id)",
    """CREATE TABLE mails (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        data BLOB NOT NULL,
        recipients TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        since REAL NOT NULL,
        next_try REAL NOT NULL,
        last_error TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT 'waiting',
        finished REAL
    )""",
    "CREATE INDEX mails_by_state ON mails (state, next_try)",
    # In a table of its own, because the hourly cap must also hold after sent mails were purged.
    "CREATE TABLE digests (left REAL NOT NULL)",
    """CREATE TABLE workers (
        name TEXT PRIMARY KEY,
        leader INTEGER NOT NULL,
        at REAL NOT NULL,
        figures TEXT NOT NULL
    )""",
)

# Most samples of a group have the same traceback, which is ten times as long as the rest of a sample.
_SECOND = (
    "CREATE TABLE tracebacks (digest INTEGER PRIMARY KEY, text BLOB NOT NULL)",
    "ALTER TABLE samples ADD COLUMN traceback INTEGER",
    "CREATE INDEX samples_by_traceback ON samples (traceback)",
    """CREATE TRIGGER tracebacks_without_sample AFTER DELETE ON samples
        WHEN NOT EXISTS (SELECT 1 FROM samples WHERE traceback = OLD.traceback)
        BEGIN DELETE FROM tracebacks WHERE digest = OLD.traceback; END""",
)

# Compared times are steady times, see clock.py. An earlier version wrote times of the wall clock. None of them may lie
# ahead: it would hold mail back, or its row would never be old.
_THIRD = (
    "CREATE TABLE steady (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT, ahead REAL NOT NULL, seen REAL NOT NULL)",
    """CREATE TABLE leader (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        worker TEXT NOT NULL,
        token INTEGER NOT NULL,
        at REAL
    )""",
    "CREATE TABLE losses (reason TEXT PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL)",
    "ALTER TABLE groups ADD COLUMN touched REAL NOT NULL DEFAULT 0",
    "ALTER TABLE groups ADD COLUMN muted_until REAL",
    "UPDATE groups SET touched = min(last_seen, :now), last_reported = min(last_reported, :now)",
    "DROP INDEX groups_by_time",
    "CREATE INDEX groups_by_time ON groups (touched)",
    "ALTER TABLE samples ADD COLUMN touched REAL NOT NULL DEFAULT 0",
    "UPDATE samples SET touched = min(created, :now)",
    "ALTER TABLE mails ADD COLUMN token INTEGER",
    "ALTER TABLE mails ADD COLUMN claimed REAL",
    """UPDATE mails SET created = min(created, :now), since = min(since, :now), next_try = min(next_try, :now),
        finished = min(finished, :now)""",
    "UPDATE digests SET left = min(left, :now)",
    "UPDATE workers SET at = min(at, :now)",
)

# The errors that each digest reports, so that a waiting digest can take in more and a dead one gives them back.
_IN_MAIL = "(SELECT m.count FROM mail_groups AS m WHERE m.mail_id = NEW.id AND m.fingerprint = groups.fingerprint)"
_FOURTH = (
    """CREATE TABLE mail_groups (
        mail_id INTEGER NOT NULL REFERENCES mails (id) ON DELETE CASCADE,
        fingerprint TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (mail_id, fingerprint)
    ) WITHOUT ROWID""",
    "ALTER TABLE mails ADD COLUMN notes TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE mails ADD COLUMN stale INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE mails ADD COLUMN most INTEGER",
    "ALTER TABLE mails ADD COLUMN reached INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE mails ADD COLUMN announced INTEGER NOT NULL DEFAULT 0",
    "UPDATE mails SET announced = 1 WHERE state = 'dead'",
    "ALTER TABLE groups ADD COLUMN died INTEGER NOT NULL DEFAULT 0",
    # A trigger, because several statements give a digest up: its errors, if it reached no recipient, are unreported.
    f"""CREATE TRIGGER digest_died AFTER UPDATE OF state ON mails
        WHEN OLD.state = 'waiting' AND NEW.state = 'dead' AND NEW.kind = 'digest' AND NOT NEW.reached
        BEGIN UPDATE groups SET reported = max(0, reported - {_IN_MAIL}), died = died + {_IN_MAIL}
            WHERE fingerprint IN (SELECT fingerprint FROM mail_groups WHERE mail_id = NEW.id); END""",  # noqa: S608  a constant
    f"""CREATE TRIGGER digest_lives AFTER UPDATE OF state ON mails
        WHEN OLD.state = 'dead' AND NEW.state = 'waiting' AND NEW.kind = 'digest' AND NOT OLD.reached
        BEGIN UPDATE groups SET reported = min(count, reported + {_IN_MAIL}), died = max(0, died - {_IN_MAIL})
            WHERE fingerprint IN (SELECT fingerprint FROM mail_groups WHERE mail_id = NEW.id); END""",  # noqa: S608  a constant
)

# Errors count as reported once a mail server accepted their digest, not when it begins.
_FIFTH = (
    "DROP TRIGGER digest_died",
    "DROP TRIGGER digest_lives",
    """UPDATE groups SET reported = max(0, reported - (SELECT coalesce(sum(held.count), 0)
        FROM mail_groups AS held JOIN mails ON mails.id = held.mail_id WHERE held.fingerprint = groups.fingerprint
            AND mails.state = 'waiting' AND mails.kind = 'digest' AND NOT mails.reached))""",
    "UPDATE mails SET kind = 'copy' WHERE kind = 'route' OR (kind = 'digest' AND reached AND state = 'waiting')",
    # Earlier versions did not keep what a digest reports. A copy without a content is sent as it is.
    """UPDATE mails SET kind = 'copy' WHERE state != 'sent' AND kind = 'digest'
        AND NOT EXISTS (SELECT 1 FROM mail_groups WHERE mail_id = mails.id)""",
    "ALTER TABLE mail_groups ADD COLUMN base INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE groups ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE groups ADD COLUMN refused_at REAL",
    "ALTER TABLE groups ADD COLUMN copied INTEGER NOT NULL DEFAULT 0",
    "UPDATE groups SET copied = reported",
    "ALTER TABLE mails ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",
    "UPDATE mails SET failed = tries > 0",
    "ALTER TABLE mails DROP COLUMN notes",
    "ALTER TABLE mails DROP COLUMN stale",
    "ALTER TABLE mails DROP COLUMN reached",
)

# A part of a mail, for recipients with an answer of their own, is not one more mail that may be lost. The process of a
# worker is known by its start as well as by its id, which another process may get. Earlier versions noted the latest
# steady time only with a heartbeat.
_SIXTH = (
    "ALTER TABLE mails ADD COLUMN part INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE workers ADD COLUMN woke REAL NOT NULL DEFAULT 0",
    "ALTER TABLE workers ADD COLUMN began TEXT",
    """UPDATE steady SET seen = max(seen, coalesce((SELECT max(created) FROM mails), 0),
        coalesce((SELECT max(touched) FROM groups), 0))""",
)

# Every id that a visitor may quote leads to its group, also of an error that is no sample.
_SEVENTH = (
    "ALTER TABLE groups ADD COLUMN message TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE groups ADD COLUMN first_release TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE groups ADD COLUMN last_release TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE groups ADD COLUMN users INTEGER NOT NULL DEFAULT 0",
    # Muted until more than `muted_more` errors come within `muted_window` seconds, counted from `muted_base` on.
    "ALTER TABLE groups ADD COLUMN muted_more INTEGER",
    "ALTER TABLE groups ADD COLUMN muted_window REAL",
    "ALTER TABLE groups ADD COLUMN muted_base INTEGER",
    "ALTER TABLE groups ADD COLUMN muted_since REAL",
    """CREATE TABLE ids (
        id INTEGER PRIMARY KEY,
        error_id TEXT NOT NULL,
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        created REAL NOT NULL,
        user_id TEXT
    )""",
    "CREATE INDEX ids_by_error_id ON ids (error_id)",
    "CREATE INDEX ids_by_group ON ids (group_id)",
    """CREATE TABLE users (
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        user_id TEXT NOT NULL,
        PRIMARY KEY (group_id, user_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE hours (
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        hour INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (group_id, hour)
    ) WITHOUT ROWID""",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        note TEXT NOT NULL
    )""",
    "CREATE INDEX history_by_group ON history (group_id)",
    """CREATE TRIGGER happened_again AFTER UPDATE OF resolved ON groups
        WHEN OLD.resolved AND NOT NEW.resolved AND NEW.count > OLD.count
        BEGIN INSERT INTO history (group_id, at, who, what, note)
            VALUES (NEW.id, NEW.last_seen, '', 'happened again', ''); END""",
    "CREATE INDEX mail_groups_by_fingerprint ON mail_groups (fingerprint)",
    # What the samples of an earlier version know of users and ids.
    """INSERT INTO ids (error_id, group_id, created, user_id)
        SELECT error_id, group_id, created, CAST(json_extract(data, '$.user_id') AS TEXT) FROM samples ORDER BY id""",
    """UPDATE groups SET message = coalesce(substr((SELECT json_extract(data, '$.message') FROM samples
        WHERE group_id = groups.id ORDER BY touched DESC, id DESC LIMIT 1), 1, 500), '')""",
    "CREATE INDEX groups_by_count ON groups (count)",
    "INSERT OR IGNORE INTO users SELECT group_id, user_id FROM ids WHERE user_id IS NOT NULL",
    "UPDATE groups SET users = min(1001, (SELECT count(*) FROM users WHERE group_id = groups.id))",
)

# The counts of an ended process stay, so a sum over all processes never falls. A trigger, because several statements
# delete a worker. It keeps each whole number of the figures, and those of each level of `refused`.
_EIGHTH = (
    """CREATE TABLE ended (
        path TEXT NOT NULL,
        key TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (path, key)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER worker_ended AFTER DELETE ON workers
        BEGIN INSERT INTO ended (path, key, count)
            SELECT path, key, value FROM json_tree(iif(json_valid(OLD.figures), OLD.figures, '{}'))
            WHERE type = 'integer' AND path IN ('$', '$.refused')
            ON CONFLICT (path, key) DO UPDATE SET count = count + excluded.count; END""",
)

# The last weekly summary, and the next one: `time` is a text such as "monday 08:00", NULL without summaries. See
# weeks.py for the other columns. The outbox counts since `since`.
_NINTH = (
    """CREATE TABLE summary (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        since REAL NOT NULL,
        time TEXT,
        summed INTEGER,
        sent REAL,
        next REAL,
        boot TEXT
    )""",
    """INSERT INTO summary (id, since)
        SELECT 1, min(:now, coalesce((SELECT min(hour) * 3600.0 FROM hours), :now))""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST,
    _SECOND,
    _THIRD,
    _FOURTH,
    _FIFTH,
    _SIXTH,
    _SEVENTH,
    _EIGHTH,
    _NINTH,
)
"""Step N leads from version N to N + 1. Never change a published step; add a new one."""
