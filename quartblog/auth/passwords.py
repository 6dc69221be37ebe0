"""Password -> scrypt hash, computed in threads: one check takes about 0.1 s of a core, too long for the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from werkzeug.security import check_password_hash, generate_password_hash

# RFC 7914 parameters N:r:p; OWASP's password storage cheat sheet asks for at least N=2^15 with r=8 and p=3, or
# N=2^17 with p=1. This is Werkzeug's default, 32 MiB and about 0.1 s a check.
METHOD = "scrypt:32768:8:1"

# Two threads: more of them would speed up sign-ins at the expense of all other requests.
_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="scrypt")


async def hash_password(password: str) -> str:
    """Return a salted hash that names its method. Never call it inside a transaction: it takes 0.1 s."""
    return await asyncio.get_running_loop().run_in_executor(_pool, generate_password_hash, password, METHOD)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password matches. None, for an account that does not exist, takes as long and never matches."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool, _check, password_hash, password)


def _check(password_hash: str | None, password: str) -> bool:
    fits = check_password_hash(password_hash or _nobodys_hash(METHOD), password)
    return fits and password_hash is not None


@cache
def _nobodys_hash(method: str) -> str:
    return generate_password_hash("nobody has this password", method)
