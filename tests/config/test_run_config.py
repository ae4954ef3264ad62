"""What a user configured reaches `run.json` as it is, but for secrets."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from attnmon.config.run_config import (
    HIDDEN,
    LONGEST_CONFIG,
    LONGEST_VALUE,
    command_without_secrets,
    config_json,
)


@dataclasses.dataclass
class Arguments:
    lr: float = 3e-4
    data: Path = Path("corpus.txt")
    hub_token: str = "mine"


class WithDict:
    def to_dict(self) -> dict[str, Any]:
        return {"layers": 6}


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("not today")


def shown(given: Any) -> Any:
    return json.loads(config_json("config", given))


def test_what_people_configure_with_is_taken() -> None:
    assert config_json("config", None) == ""
    assert shown({"a": 1, "b": [True, None, 0.5], "c": {"d": "text"}}) == {
        "a": 1, "b": [True, None, 0.5], "c": {"d": "text"},
    }  # fmt: skip
    assert shown(argparse.Namespace(lr=0.1)) == {"lr": 0.1}
    assert shown(Arguments()) == {"lr": 3e-4, "data": "corpus.txt", "hub_token": HIDDEN}
    assert shown(WithDict()) == {"layers": 6}


@pytest.mark.parametrize("given", [5, "lr=1", [1, 2], dict, len])
def test_what_is_no_configuration_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"config=.*: give a mapping, a dataclass, a namespace"):
        config_json("config", given)


def test_a_configuration_that_cannot_be_read_is_no_error() -> None:
    class Failing:
        def to_dict(self) -> dict[str, Any]:
            raise RuntimeError("not today")

        def __repr__(self) -> str:
            raise RuntimeError("nor so")

    assert shown(Failing()) == {HIDDEN: "it cannot be read: RuntimeError: not today"}
    assert shown({Broken(): 1}) == {HIDDEN: "it cannot be read: RuntimeError: not today"}

    class Unknown:
        __slots__ = ()
        __repr__ = Failing.__repr__

    with pytest.raises(TypeError, match=r"config=.*Unknown: give a mapping"):
        config_json("config", Unknown())


def test_values_that_cannot_be_shown_do_not_fail() -> None:
    cycle: dict[str, Any] = {}
    cycle["itself"] = cycle
    assert shown({"a": Broken(), "b": float("nan"), "c": 1 << 80, 3: "x"}) == {
        "a": "Broken", "b": "nan", "c": str(1 << 80), "3": "x",
    }  # fmt: skip
    assert "itself" in shown(cycle)
    assert shown({"long": "x" * 10_000}) == {"long": "x" * LONGEST_VALUE}
    many = shown({str(number): "x" * 400 for number in range(900)})
    assert many == {HIDDEN: f"longer than {LONGEST_CONFIG:,} characters"}


@pytest.mark.parametrize(
    "name",
    ["hub_token", "api_key", "apiKey", "AWS_SECRET_ACCESS_KEY", "db-password", "auth", "accessKey"],
)
def test_secrets_are_left_out_by_their_names(name: str) -> None:
    assert shown({name: "abc"}) == {name: HIDDEN}
    assert shown({"inner": {name: "abc"}}) == {"inner": {name: HIDDEN}}
    assert shown({name: {"first": "abc"}}) == {name: HIDDEN}
    assert shown({name: ["abc", b"def"]}) == {name: HIDDEN}
    assert command_without_secrets([f"--{name}", "abc", f"--{name}=abc"]) == (
        f"--{name}", HIDDEN, f"--{name}={HIDDEN}",
    )  # fmt: skip


@pytest.mark.parametrize(
    "value", ["hf_abcdefghijkl", "sk-0123456789abcdef", "ghp_0123456789", "AKIAABCDEFGHIJKL"]
)
def test_secrets_are_left_out_by_how_they_look(value: str) -> None:
    assert shown({"x": f"use {value}"}) == {"x": f"use {HIDDEN}"}
    assert command_without_secrets([value]) == (HIDDEN,)


def test_the_password_in_an_address_is_left_out() -> None:
    assert shown({"db": "postgres://me:abc@host/x"}) == {"db": f"postgres://{HIDDEN}@host/x"}


def test_what_only_sounds_like_a_secret_stays() -> None:
    config = {"max_tokens": 5, "tokenizer": "bpe", "key_size": "64", "n_key_heads": 2, "token": 7}
    assert shown(config) == config
    command = ("python", "train.py", "--tokenizer", "bpe", "--lr=0.1", "-m", "x.y")
    assert command_without_secrets(command) == command
