"""Settings -> the app, with all packages wired together."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from quart import Quart

from quartblog import auth, migrations
from quartblog.account.views import blueprint as account_blueprint
from quartblog.auth.views import blueprint as auth_blueprint
from quartblog.database import EXTENSION as DATABASE
from quartblog.database import Database
from quartblog.delivery import Delivery
from quartblog.errors import pages, rehearsal
from quartblog.errors.exceptions import DatabaseUnavailable, SchemaOutdated
from quartblog.forwarding import forwarding_sinks
from quartblog.operations import access, delivery_state, entrance, error_groups, health, metrics, presentation
from quartblog.operations.delivery_state import LOADED
from quartblog.operations.reload import Watcher
from quartblog.posts.views import blueprint as posts_blueprint
from quartblog.profile.avatar import avatar
from quartblog.profile.views import blueprint as profile_blueprint
from quartblog.serving import connections, faults
from quartblog.settings import Loaded, Settings, config_file, load, secret_key
from quartblog.settings.options import delivery_options, forwarding_options, release_of
from quartblog.web import bodies, headers, hosts, i18n, last_resort, origin, pieces, security_log, static
from quartblog.web.application import Application, drop_threaded_context

logger = logging.getLogger("quartblog")

BLUEPRINTS = (
    *(posts_blueprint, auth_blueprint, profile_blueprint, account_blueprint),
    *(health.blueprint, metrics.blueprint, error_groups.blueprint, delivery_state.blueprint),
    entrance.blueprint,
)
"""The blueprints of all pages; a setting adds the rehearsal route."""

FORWARDING = "forwarding"
"""Names the sinks to Sentry and OpenTelemetry in app.extensions; they close after the delivery."""

# Seconds for one statement on PostgreSQL. Pages need milliseconds; a writer may wait for another one's lock.
STATEMENT_TIMEOUT = 10.0


def create_app(settings: Settings | None = None, *, debug: bool = False) -> Quart:
    """Build the app. Without `settings`, load them from config.toml and the environment. Raise SettingsError.

    `debug` shows tracebacks in the browser and sends no mail; only `quartblog run --debug` sets it. The server's
    lifespan opens and closes log delivery and database.
    """
    served = settings is None
    watched = config_file() if served else None
    loaded = load() if settings is None else Loaded.of(settings)
    settings = loaded.settings
    options = delivery_options(settings, mail=not debug)
    app = Application("quartblog")
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.secret_key = secret_key(settings)
    # Overrides FLASK_DEBUG, which Quart has read: the variable of another project must not show code to visitors.
    app.config.update(_config(settings), DEBUG=debug, TEMPLATES_AUTO_RELOAD=debug)
    _make_logger(app)
    i18n.init_app(app, settings.site.language)
    static.init_app(app)
    pieces.init_app(app)
    headers.init_app(app)
    pages.init_app(app, mailed=options["mail"] is not None)
    bodies.init_app(app)
    origin.init_app(app, settings.site.public_url if "public_url" in settings.site.model_fields_set else None)
    auth.init_app(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    access.init_app(app)
    entrance.init_app(app)
    presentation.init_app(app)
    if settings.errors.rehearsal_route:
        app.register_blueprint(rehearsal.blueprint)
    drop_threaded_context(app)
    app.jinja_env.globals.update(
        avatar=avatar, site_name=settings.site.name, registration_open=settings.site.registration
    )
    # As with mail: what a developer tries is nothing for the operators.
    forwarding = () if debug else forwarding_sinks(forwarding_options(settings, release_of(settings)))
    delivery = Delivery(**options, extra_sinks=forwarding)
    app.extensions[FORWARDING] = forwarding
    app.extensions[LOADED] = loaded
    watcher = Watcher(watched, settings, lambda new: _change(app, delivery, new, mail=not debug)) if watched else None
    every_answer = headers.security_headers(
        secure=settings.secure_cookies, subdomains=settings.security.hsts_subdomains, debug=debug
    )
    _serve_with(app, _database(settings), delivery, watcher, every_answer if served else None)
    metrics.init_app(
        app,
        version=release_of(settings),
        token=settings.operations.metrics_token.get_secret_value(),
        trusted_proxies=settings.security.trusted_proxies,
    )
    hosts.init_app(
        app, settings.security.allowed_hosts, any_host=(*health.PATHS, metrics.PATH), language=settings.site.language
    )
    last_resort.init_app(
        app,
        trusted_proxies=settings.security.trusted_proxies,
        language=settings.site.language,
        headers=every_answer,
    )
    return app


def check_options(settings: Settings) -> None:
    """Build the objects of the start from the settings without opening anything. Raise SettingsError."""
    delivery_options(settings, mail=True)
    forwarding_sinks(forwarding_options(settings, release_of(settings)))
    _database(settings)


def _make_logger(app: Quart) -> None:
    """Create Quart's logger without Quart's own handler, which would write records to stderr without redaction."""
    present = logging.NullHandler()
    logger.addHandler(present)
    assert app.logger is logger  # noqa: S101 - the property creates the logger and keeps it
    logger.removeHandler(present)


def _config(settings: Settings) -> dict[str, object]:
    """Return the keys of app.config that Quart, quart-auth and the views read."""
    security = settings.security
    return {
        "SECRET_KEY_FALLBACKS": [key.get_secret_value() for key in security.secret_key_fallbacks],
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "QUART_AUTH_COOKIE_SECURE": settings.secure_cookies,
        "QUART_AUTH_DURATION": security.session_days * 24 * 60 * 60,
        "SESSION_DAYS": security.session_days,
        "IDLE_DAYS": security.idle_days,
        security_log.ADDRESSES: security.log_addresses,
        "REGISTRATION": settings.site.registration,
    }


def _database(settings: Settings) -> Database:
    database = settings.database
    return Database(
        database.url.get_secret_value(),
        pool_size=database.pool_size,
        pool_timeout=database.pool_timeout,
        statement_timeout=STATEMENT_TIMEOUT,
    )


def _change(app: Quart, delivery: Delivery, loaded: Loaded, *, mail: bool) -> None:
    options = delivery_options(loaded.settings, mail=mail)
    delivery.reconfigure(**options)
    app.extensions[LOADED] = loaded
    app.extensions[pages.MAILED] = options["mail"] is not None


def _serve_with(
    app: Quart, database: Database, delivery: Delivery, watcher: Watcher | None, served: Mapping[str, str] | None
) -> None:
    """Open the delivery first and close it last, so that it receives every record in between.

    `served`: the headers of every answer if this process is a server with this one app, else None.
    """
    app.extensions[DATABASE] = database
    app.extensions[health.DELIVERY] = delivery

    @app.while_serving
    async def serving() -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for sink in app.extensions[FORWARDING]:
                stack.callback(sink.close)
            delivery.start()
            stack.push_async_callback(asyncio.to_thread, delivery.stop)
            loop = asyncio.get_running_loop()
            before = faults.install(loop)
            if served is None:
                # A server's process keeps the handler, because connections end after the app.
                stack.callback(loop.set_exception_handler, before)
            stack.push_async_callback(database.close)
            await _check_schema(database)
            if watcher is not None:
                await stack.enter_async_context(_in_background(watcher.watch()))
            if served is not None:
                connections.install(served)
                _prepare_for_storms()
            if app.debug:
                logger.info("Debug is on: the browser shows tracebacks, and the site sends no mail")
            logger.info("微博已启动")
            yield


def _prepare_for_storms() -> None:
    """Tune the interpreter for error storms; only for a process that is a server."""
    # freeze() hides all loaded code from the garbage collector, which would scan it again and again in an error storm.
    gc.collect()
    gc.freeze()
    # Writer and database threads wait 1 ms for a busy event loop instead of 5. At 800 errors a second, this halved the
    # home page's 99th percentile.
    sys.setswitchinterval(0.001)


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _check_schema(database: Database) -> None:
    try:
        await migrations.check(database)
    except SchemaOutdated:
        logger.critical("Stopped at the start", exc_info=True)
        raise
    except DatabaseUnavailable:
        # The site answers 503 until the database is back; a stop would only make the operator restart it.
        logger.exception("The database does not answer at the start")
