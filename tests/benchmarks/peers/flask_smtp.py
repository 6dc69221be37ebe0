"""A Flask app as its manual sets it up: every error is mailed by the SMTPHandler, while the visitor waits."""

import logging
import tomllib
from logging.handlers import SMTPHandler
from pathlib import Path

from flask import Flask

mail = tomllib.loads(Path("config.toml").read_text("utf-8"))["mail"]
handler = SMTPHandler((mail["server"], mail["port"]), mail["admins"][0], mail["admins"], "It failed")
handler.setLevel(logging.ERROR)

app = Flask(__name__)
app.logger.addHandler(handler)


@app.get("/")
def home() -> str:
    """Any page."""
    return "<!doctype html><title>home</title>"


@app.get("/errors/rehearsal")
def fail() -> str:
    """Fail."""
    raise RuntimeError("this error was asked for")
