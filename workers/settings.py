"""Settings of a process, read from `PRESSROOM_*` when it starts and never changed after.

`PRESSROOM_DATA_DIR` alone is enough for every process of a local stack to find the others.
"""

import hashlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from workers.redis_url import RedisUrl

EMULATOR_KEY = "rpa_emulator"  # opens nothing but the emulator
SCHEMES = {
    "database_url": ("postgresql", "postgres", "postgresql+psycopg"),
    "database_pooler_url": ("postgresql", "postgres", "postgresql+psycopg"),
}
SOCKET_PATH_BYTES = 100  # the kernel takes 107; the names within take some


class Settings(BaseSettings):
    """Each field is the environment variable `PRESSROOM_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="PRESSROOM_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it holds secrets
    )

    data_dir: Path = Field(
        Path("var"), description="Everything that the stack writes lies under this folder."
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL; the embedded server if unset. postgresql://user@host/name"
    )
    database_pooler_url: SecretStr | None = Field(
        None,
        description="A pooler in transaction mode before it (PgBouncer), for workers, gateways and "
        "whoever hands in jobs. Migrations, backups and checks go to DATABASE_URL.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis or Valkey; the embedded server if unset. redis://host:6379/0, rediss:// "
        "for TLS, redis+sentinel://host:26379,host:26379/0?service=NAME: see docs/deploy.md.",
    )
    redis_prefix: str = Field(
        "pressroom:", min_length=1, description="Before every key: one for each installation."
    )
    upstream_url: str | None = Field(
        None, description="With the version: https://api.runpod.ai/v2. The emulator if unset."
    )
    upstream_key: SecretStr | None = Field(
        None, description="The API key. Set with UPSTREAM_URL or not at all."
    )
    public_url: str | None = Field(
        None,
        description="How the gateway is reached from outside: links to files begin with it, and "
        "the upstream's webhooks come to it. If unset, links begin as the request for them did, "
        "and no webhooks are asked for (with the emulator: at the gateway's own address).",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="Signs links to files and webhooks, and encrypts what is kept of s3Config; "
        "the same for every process. Made once in DATA_DIR/secret if unset.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts in private networks that webhooks and files may be at all the same: "
        "host or host:port, with commas between.",
    )
    store_url: str | None = Field(
        None,
        description="Where files are kept: s3://bucket/prefix, gs://, az://, file:///. "
        "DATA_DIR/store if unset. Credentials come from the store's own variables.",
    )
    gateway_host: str = Field("127.0.0.1", description="Where the gateway listens.")
    gateway_port: int = Field(8000, ge=1, le=65535, description="Its port.")
    flower_host: str = Field("127.0.0.1", description="Where Flower listens.")
    flower_port: int = Field(5555, ge=1, le=65535, description="Its port.")
    flower_password: SecretStr | None = Field(
        None, description="For the user `pressroom`; made by `pressroom up` if unset."
    )
    flower_campaign_jobs: int = Field(
        1_000,
        ge=0,
        description="A campaign of more jobs than this is not shown job by job in Flower.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Opens /metrics of the gateway and of each worker to Prometheus, as a bearer "
        "token. If unset, workers serve none, and the gateway's takes a key that may operate.",
    )
    metrics_host: str = Field("127.0.0.1", description="Where workers serve /metrics.")
    metrics_port: int = Field(
        9100,
        ge=1,
        le=65279,
        description="Their port; of several that `up` starts, the first one's: the others follow.",
    )
    emulator_host: str = Field("127.0.0.1", description="Where the emulator listens.")
    emulator_port: int = Field(8900, ge=1, le=65535, description="Its port.")
    emulator_clock: float = Field(
        20.0, gt=0, le=1000, description="How many times faster the emulated upstream's time runs."
    )
    workers: int | None = Field(
        None, ge=1, le=256, description="Worker processes that `up` starts; one a core if unset."
    )
    worker_threads: int = Field(
        64,
        ge=4,
        le=1024,
        description="Stages that one worker runs at once; each waits on a thread.",
    )
    sweep_seconds: float = Field(
        2.0, ge=0.5, le=60, description="How often overdue lanes are looked for."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="One line for each event.")
    log_prompts: bool = Field(
        False,  # noqa: FBT003 -- a default
        description="Show prompts, results and what others say of them in the log. Secrets never "
        "are shown.",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = tuple(part.strip() for part in value.split(",") if part.strip())
        if hosts:
            from endpoints.guard import Guard  # noqa: PLC0415 -- few set it; commands start fast

            Guard(hosts)  # says what is wrong with them
        return hosts

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            for name, path in RedisUrl.parse(value.get_secret_value()).files.items():
                if not Path(path).is_file():
                    raise ValueError(f"{name} is {path}, and there is no such file")
        return value

    @field_validator("metrics_token", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        """Compose hands on what is not set as nothing."""
        return value or None

    @field_validator("database_url", "database_pooler_url")
    @classmethod
    def _names_a_server(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        schemes = SCHEMES[str(info.field_name)]
        if value is not None and urlsplit(value.get_secret_value()).scheme not in schemes:
            raise ValueError(f"a URL was wanted that begins with {' or '.join(schemes)} and ://")
        return value

    @model_validator(mode="after")
    def _upstream_is_whole(self) -> Self:
        if self.upstream_key and not self.upstream_url:
            raise ValueError(
                "PRESSROOM_UPSTREAM_KEY is set and PRESSROOM_UPSTREAM_URL is not: set it to the "
                "upstream's base URL (https://api.runpod.ai/v2), or unset the key for the emulator"
            )
        if self.upstream_url and not self.upstream_key:
            raise ValueError(
                "PRESSROOM_UPSTREAM_URL is set and PRESSROOM_UPSTREAM_KEY is not: set both, "
                "or neither for the emulator"
            )
        return self

    @property
    def emulated(self) -> bool:
        """Whether the upstream is the emulator."""
        return self.upstream_url is None

    @property
    def upstream_base(self) -> str:
        return self.upstream_url or f"http://{self.emulator_host}:{self.emulator_port}/v2"

    @property
    def upstream_secret(self) -> str:
        return self.upstream_key.get_secret_value() if self.upstream_key else EMULATOR_KEY

    @property
    def gateway_base(self) -> str | None:
        """Where the upstream reaches the gateway; None: nowhere."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return f"http://{self.gateway_host}:{self.gateway_port}" if self.emulated else None

    @property
    def link_base(self) -> str:
        """Where people and programs reach the gateway, as far as the settings tell."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.gateway_host in {"0.0.0.0", "::"} else self.gateway_host  # noqa: S104 -- compared, not bound
        return f"http://{host}:{self.gateway_port}"

    @property
    def reachable_hosts(self) -> tuple[str, ...]:
        """What may be fetched although it is in a private network: the emulator is, too."""
        own = urlsplit(self.link_base).netloc
        emulator = (f"{self.emulator_host}:{self.emulator_port}",) if self.emulated else ()
        return (*self.allowed_hosts, own, *emulator)

    @property
    def store_base(self) -> str:
        return self.store_url or (self.data_dir / "store").absolute().as_uri()

    @property
    def embeds_postgres(self) -> bool:
        return self.database_url is None

    @property
    def embeds_redis(self) -> bool:
        return self.redis_url is None

    @cached_property
    def socket_dir(self) -> Path:
        """Where the embedded servers' sockets are: under DATA_DIR unless its path is too long."""
        run = (self.data_dir / "run").absolute()
        if len(bytes(run)) <= SOCKET_PATH_BYTES - len("/.s.PGSQL.5432"):
            return run
        digest = hashlib.sha256(bytes(run)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"pressroom-{digest}"

    @property
    def database_dsn(self) -> str:
        """For SQLAlchemy, with psycopg."""
        if self.database_url is None:
            return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self.socket_dir))}"
        return _with_psycopg(self.database_url)

    @property
    def pooler_dsn(self) -> str | None:
        """The same, of the pooler."""
        return None if self.database_pooler_url is None else _with_psycopg(self.database_pooler_url)

    @property
    def redis_dsn(self) -> str:
        """For redis-py, where no sentinels are asked: see `workers/redis_client.py`."""
        if self.redis_url is None:
            return f"unix://{quote(str(self.socket_dir))}/valkey.sock?db=0"
        return self.redis_url.get_secret_value()

    @property
    def redis_where(self) -> RedisUrl:
        return RedisUrl.parse(self.redis_dsn)

    @property
    def broker_dsn(self) -> str:
        """For Celery, which is told of TLS and of sentinels elsewhere: `workers/app.py`."""
        return self.redis_where.broker_url


def _with_psycopg(url: SecretStr) -> str:
    _, _, rest = url.get_secret_value().partition("://")
    return f"postgresql+psycopg://{rest}"
