"""config.toml + environment -> one frozen, typed object.

Strongest first: QUARTBLOG_<SECTION>__<KEY>, the MAIL_… variables, config.toml, the default. Unknown keys and invalid
values stop the start with a SettingsError that lists all of them.
"""

from quartblog.settings.load import Loaded, config_file, load, load_outbox, load_settings
from quartblog.settings.secret import secret_key
from quartblog.settings.sections import Settings

__all__ = ["Loaded", "Settings", "config_file", "load", "load_outbox", "load_settings", "secret_key"]
