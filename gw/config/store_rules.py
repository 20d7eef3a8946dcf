"""Rules on the store: what its parts say of each other, and the address of a Redis. Nothing here repeats a password."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gw.config.convert import BROKEN
from gw.config.model import Config, Redis
from gw.config.redis_address import FORMS, RedisAddress, parse_redis
from gw.errors import Problem

REDIS = "$.store.redis"
PREFIX = re.compile(r"[A-Za-z0-9._:/-]{1,64}")


def check_store(config: Config) -> Iterator[Problem]:
    """Everything about the store that its text can tell."""
    store = config.store
    if store is None or store is BROKEN:
        return
    if store.file is None and store.redis is None:
        yield Problem(message="a store without `file` and `redis` keeps nothing", pointer="$.store", at_key=True, hint="leave `store` out, or name a file")
    if store.redis is not None and store.redis is not BROKEN:
        yield from _redis(store.redis)


def _redis(redis: Redis) -> Iterator[Problem]:
    if redis.prefix is not BROKEN and not PREFIX.fullmatch(redis.prefix):
        yield Problem(message=f"'{redis.prefix}' cannot begin the names of keys", pointer=f"{REDIS}.prefix", hint="letters, digits and . _ : / -, at most 64")
    if BROKEN not in (redis.timeout, redis.lease) and redis.timeout >= redis.lease:
        message = "timeout is not shorter than lease, so that units could be granted and over before gw hears of them"
        yield Problem(message=message, pointer=f"{REDIS}.timeout", hint=f"lease is {redis.lease}; half of it leaves room")
    if redis.url is BROKEN:
        return
    try:
        address = parse_redis(redis.url)
    except ValueError as error:
        yield Problem(message=str(error), pointer=f"{REDIS}.url", hint=f"expected {FORMS}")
    else:
        yield from _against(redis, address)


def _against(redis: Redis, address: RedisAddress) -> Iterator[Problem]:
    """Fields that say otherwise than the URL."""
    if redis.tls is not None and not address.at.tls:
        yield Problem(message="this Redis is not spoken to over TLS", pointer=f"{REDIS}.tls", at_key=True, hint="write rediss:// in `url`")
    if redis.password is not None and address.password:
        yield Problem(message="the URL holds a password already", pointer=f"{REDIS}.password", at_key=True, hint="keep one of them")
    if address.user and redis.password is None and not address.password:
        yield Problem(message="the URL names a user and no password", pointer=f"{REDIS}.url", hint="add `password`, or write redis://:PASSWORD@host for a password alone")
    if redis.database not in (None, BROKEN) and address.database is not None and redis.database != address.database:
        yield Problem(message=f"the URL says database {address.database}", pointer=f"{REDIS}.database", hint="keep one of them")
