"""What the environment says, and the addresses that are made of it."""

import ssl
from typing import Any

import pytest
from kombu.utils.url import url_to_parts
from pydantic import ValidationError
from redis.asyncio import ConnectionPool
from sqlalchemy import make_url

from workers.app import make_app
from workers.settings import EMULATOR_KEY, Settings

UPSTREAM: dict[str, Any] = {
    "upstream_url": "https://api.runpod.ai/v2",
    "upstream_key": "rpa_secret",
}
LONGEST_SOCKET_BYTES = 107  # what the kernel takes


def test_each_setting_is_read_from_its_variable(monkeypatch):
    monkeypatch.setenv("PRESSROOM_GATEWAY_PORT", "8123")
    monkeypatch.setenv("PRESSROOM_DATA_DIR", "/srv/pressroom")

    settings = Settings()

    assert (settings.gateway_port, str(settings.data_dir)) == (8123, "/srv/pressroom")


def test_each_setting_says_what_it_is_for():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gateway_port", "0"),
        ("gateway_port", "70000"),
        ("emulator_clock", "0"),
        ("sweep_seconds", "0"),
        ("workers", "0"),
        ("worker_threads", "1"),
        ("redis_prefix", ""),
        ("log_level", "loud"),
        ("metrics_token", "too short"),
        ("metrics_port", "65300"),  # 256 workers have ports from there on
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(monkeypatch, name, value):
    monkeypatch.setenv(f"PRESSROOM_{name.upper()}", value)

    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(("given", "missing"), [("upstream_url", "KEY"), ("upstream_key", "URL")])
def test_half_an_upstream_is_refused_with_what_is_missing(given, missing):
    with pytest.raises(ValidationError, match=f"PRESSROOM_UPSTREAM_{missing} is not"):
        Settings(**{given: UPSTREAM[given]})


def test_settings_do_not_change_once_read():
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.gateway_port = 9  # type: ignore[misc]  # the mistake that is tested


def test_no_secret_is_in_what_is_shown_of_the_settings():
    settings = Settings(
        **UPSTREAM,
        database_url="postgresql://u:hunter2@db/p",
        redis_url="redis://:hunter2@redis/0",
        flower_password="hunter2",
    )

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert "rpa_secret" not in shown


def test_without_an_upstream_the_emulator_is_called_and_calls_back():
    settings = Settings(emulator_port=8901, gateway_port=8001)

    assert settings.emulated
    assert settings.upstream_base == "http://127.0.0.1:8901/v2"
    assert settings.upstream_secret == EMULATOR_KEY
    assert settings.gateway_base == "http://127.0.0.1:8001"


def test_a_real_upstream_is_given_a_public_address_or_none():
    closed = Settings(**UPSTREAM)
    public = Settings(**UPSTREAM, public_url="https://pressroom.example.org/")

    assert not closed.emulated
    assert (closed.upstream_base, closed.upstream_secret) == tuple(UPSTREAM.values())
    assert closed.gateway_base is None
    assert public.gateway_base == "https://pressroom.example.org"


@pytest.mark.parametrize("folder", ["var", "with a space", "c++", "50%41", "a&b=c", "#1?", "ü"])
def test_every_client_finds_the_same_sockets_whatever_the_folder_is_called(tmp_path, folder):
    settings = Settings(data_dir=tmp_path / folder)

    postgres = make_url(settings.database_dsn)
    redis = ConnectionPool.from_url(settings.redis_dsn)
    broker = url_to_parts(settings.broker_dsn.removeprefix("redis+"))

    assert postgres.query["host"] == str(settings.socket_dir)
    assert redis.connection_kwargs["path"] == str(settings.socket_dir / "valkey.sock")
    assert f"/{broker.path}" == str(settings.socket_dir / "valkey.sock")


@pytest.mark.parametrize("length", [1, 40, 70, 80, 120, 200])
def test_a_socket_has_a_path_that_the_kernel_takes(tmp_path, length):
    settings = Settings(data_dir=tmp_path / ("d" * length))

    assert len(bytes(settings.socket_dir / ".s.PGSQL.5432")) <= LONGEST_SOCKET_BYTES


def test_two_data_folders_never_share_sockets(tmp_path):
    folders = [tmp_path / (letter * 150) for letter in "ab"]

    assert len({Settings(data_dir=folder).socket_dir for folder in folders}) == 2


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@db:5432/p", "postgres://u@db:5432/p", "postgresql+psycopg://u@db:5432/p"],
)
def test_any_spelling_of_a_database_url_is_reached_by_our_driver(url):
    settings = Settings(database_url=url)

    assert settings.database_dsn == "postgresql+psycopg://u@db:5432/p"
    assert not settings.embeds_postgres


def test_a_redis_of_ones_own_is_used_for_memory_and_messages():
    settings = Settings(redis_url="redis://redis:6379/3")

    assert settings.redis_dsn == settings.broker_dsn == "redis://redis:6379/3"
    assert not settings.embeds_redis


def test_sentinels_are_told_to_each_client_in_its_own_words():
    settings = Settings(
        redis_url="rediss+sentinel://u:p%40@a,b:1/2?service=jobs&sentinel_password=q"
    )
    conf = make_app(settings).conf

    where = settings.redis_where
    assert where.hosts == (("a", 26379), ("b", 1))
    assert where.server_options.items() >= {"db": 2, "username": "u", "password": "p@"}.items()
    assert where.sentinel_options["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert conf.broker_url == "sentinel://u:p%40@a:26379/2;sentinel://u:p%40@b:1/2"
    for options in (conf.broker_transport_options, conf.result_backend_transport_options):
        assert options["master_name"] == "jobs"
        assert options["sentinel_kwargs"]["password"] == "q"
    assert conf.broker_use_ssl == conf.redis_backend_use_ssl == where.tls


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://redis", "redis or rediss or unix"),
        ("redis://redis/zero", "the number of a database"),
        ("redis://:canary@/0", "a host was wanted"),
        ("redis://redis/0?ssl_ca_certs=canary", "has no option ssl_ca_certs"),
        ("rediss://redis/0?ssl_cert_reqs=canary", "ssl_cert_reqs is required or optional or none"),
        ("rediss://redis/0?ssl_certfile=canary", "are set together"),
        ("rediss://:canary@redis/0?ssl_ca_certs=/nowhere", "ssl_ca_certs is /nowhere, and there"),
        ("redis+sentinel://:canary@a,b/0", "service= was wanted"),
        ("redis+sentinel://:canary@a:x,b/0?service=s", "host:port was wanted"),
    ],
)
def test_a_redis_url_that_a_client_would_misread_is_refused_and_not_repeated(url, said):
    with pytest.raises(ValidationError, match=said) as refused:
        Settings(redis_url=url)

    assert "canary" not in str(refused.value)
