from pathlib import Path

import pytest

from consumer.kafka_clients import consumer_config, transactional_config
from consumer.settings import Settings, as_environment, env_example, load_settings
from schemas.errors import UserError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_source_outranks_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smsift.toml").write_text(
        'filter_group = "toml"\nsink_group = "toml"\nbase = "toml"\ndevice = "toml"\nmodel = "toml"'
    )
    (tmp_path / ".smsift").mkdir()
    (tmp_path / ".smsift" / "stack.env").write_text(
        "SMSIFT_SINK_GROUP=stack\nSMSIFT_BASE=stack\nSMSIFT_DEVICE=stack\nSMSIFT_MODEL=stack\n"
    )
    (tmp_path / ".env").write_text("SMSIFT_BASE=dotenv\nSMSIFT_DEVICE=dotenv\nSMSIFT_MODEL=dotenv\nUNRELATED=1\n")
    monkeypatch.setenv("SMSIFT_DEVICE", "environment")
    monkeypatch.setenv("SMSIFT_MODEL", "environment")
    settings = load_settings(model="flag", base=None)
    assert (settings.filter_group, settings.sink_group, settings.base, settings.device, settings.model) == (
        "toml",
        "stack",
        "dotenv",
        "environment",
        "flag",
    )


def test_the_stacks_addresses_are_found_in_the_local_folder_that_dotenv_names(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "stack.env").write_text("SMSIFT_BOOTSTRAP_SERVERS=127.0.0.1:1\n")
    (tmp_path / ".env").write_text("SMSIFT_LOCAL_DIR=elsewhere\n")
    assert load_settings().require_bootstrap_servers() == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LINGER_MS", "soon", "SMSIFT_LINGER_MS: Input should be a valid integer"),
        ("BATCH_TOKENS", "0", "SMSIFT_BATCH_TOKENS: Input should be greater than or equal to 16"),
        ("TEXT_MODE", "shred", "'keep', 'hash' or 'drop'"),
        ("CLICKHOUSE_URL", "localhost:8123", "must start with http"),
        ("KAFKA", "{'not': json", "kafka"),
        ("PSEUDONYM_KEY_FILE", "/no/such/file", "SMSIFT_PSEUDONYM_KEY_FILE: No such file"),
        ("TEXT_MODE", "hash", "SMSIFT_TEXT_MODE: hash needs a pseudonym key"),
        ("TOPIC_PREFIX", "a b", "SMSIFT_TOPIC_PREFIX"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_field_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SMSIFT_{name}", value)
    with pytest.raises(UserError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert value not in str(caught.value).replace(said, "") or value == "0"


def test_an_empty_key_is_refused_rather_than_letting_numbers_leave_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" \n")
    for key in ({"pseudonym_key_file": tmp_path / "key"}, {"pseudonym_key": ""}):
        with pytest.raises(UserError, match="key is empty"):
            load_settings(**key)


def test_secrets_are_not_in_the_settings_text() -> None:
    settings = load_settings(clickhouse_password="hunter2", pseudonym_key="hunter3")
    assert "hunter" not in repr(settings) + str(settings)
    assert settings.pseudonym_secret == b"hunter3"


def test_nothing_configured_says_what_to_do() -> None:
    with pytest.raises(UserError, match="smsift up"):
        load_settings().require_bootstrap_servers()
    with pytest.raises(UserError, match="smsift up"):
        load_settings().require_clickhouse_url()


def test_any_librdkafka_property_reaches_the_clients_except_what_exactly_once_stands_on() -> None:
    settings = load_settings(
        bootstrap_servers="b:1",
        kafka={"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"},
        kafka_consumer={"fetch.min.bytes": 7},
        kafka_producer={"linger.ms": 9},
    )
    consumer, producer = consumer_config(settings, "g"), transactional_config(settings)
    assert consumer["security.protocol"] == producer["security.protocol"] == "SASL_SSL"
    assert (consumer["fetch.min.bytes"], producer["linger.ms"]) == (7, 9)
    for field, key in (("kafka_consumer", "isolation.level"), ("kafka_producer", "transactional.id")):
        with pytest.raises(UserError, match=key):
            bad = settings.model_copy(update={field: {key: "x"}})
            consumer_config(bad, "g")
            transactional_config(bad)


def test_a_guarantee_cannot_be_undone_through_the_settings_of_all_clients() -> None:
    settings = load_settings(bootstrap_servers="b:1", kafka={"enable.auto.commit": True, "acks": "0"})
    with pytest.raises(UserError, match=r"enable\.auto\.commit"):
        consumer_config(settings, "g")
    with pytest.raises(UserError, match="acks"):
        transactional_config(settings)


def test_the_group_protocol_of_kip_848_gets_none_of_the_classic_protocols_properties() -> None:
    settings = load_settings(bootstrap_servers="b:1", kafka_consumer={"group.protocol": "consumer"})
    config = consumer_config(settings, "g")
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(config)


def test_env_example_lists_every_setting() -> None:
    listed = {line[1:].split("=")[0] for line in env_example().splitlines() if line.startswith("#SMSIFT_")}
    assert listed == {f"SMSIFT_{name.upper()}" for name in Settings.model_fields}


def test_another_process_in_another_folder_finds_the_same_models_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    given = as_environment(load_settings(models="models", data_store="s3://bucket/data"))
    assert given["SMSIFT_MODELS"] == str(tmp_path / "models")
    assert given["SMSIFT_DATA_STORE"] == "s3://bucket/data"
