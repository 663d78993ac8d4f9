"""Which names mean a secret, and what is hidden of values, words and texts that hold one."""

import logging
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrun.config.words import hide_in_words, remember_words, spelled
from mlrun.system.safe_text import safe, safe_streams
from mlrun.system.secrets import (
    HIDDEN,
    hide,
    hide_in_text,
    is_secret,
    redact,
    remember,
    remembering,
    secrets,
)


@pytest.fixture(autouse=True)
def _forget():
    with remembering():
        yield


@pytest.mark.parametrize(
    "name",
    [
        *("model.token", "api_key", "apiKey", "APIKEY", "my-secret", "db.passwords"),
        *("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MYSQL_PWD"),
        *("authtoken", "model.key2", "credentials", "DB_PASS", "MASTERKEY", "license_keys"),
        *("model.auth", "auth.user", "Authorization", "sessionToken"),
    ],
)
def test_a_word_of_the_name_makes_a_secret(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("model.tokenizer", "keypoints", "monkey", "keyboard", "KEYMAP", "secretary"),
        *("model.hidden", "author", "pad_token", "special_tokens", "model.mask_token"),
    ],
)
def test_a_word_that_only_contains_one_is_no_secret(name):
    assert not is_secret(name)


def test_only_the_values_of_secret_names_are_hidden():
    model = {"tokenizer": "bpe", "keypoints": "coco", "api_key": "abc", "auth": {"token": ["x"]}}
    hidden = {"api_key": HIDDEN, "auth": {"token": [HIDDEN]}}
    assert hide(model) == model | hidden


def test_numbers_are_hidden_only_as_passwords():
    values = {"max_tokens": 5, "key_dim": 1.5, "token": None, "use_key": True, "password": 12345678}
    assert hide(values) == values | {"password": HIDDEN}


def test_a_value_that_says_that_there_is_none_is_no_secret():
    values = {"token": "none", "auth": "", "key": "${oc.env:KEY}", "password": "null"}
    assert hide(values) == values
    assert hide({"token": "${oc.env:KEY,literal}"}) == {"token": HIDDEN}


# --- words of the command line ---

WORDS = {
    # as typed → as recorded
    "model.token=abc": f"model.token={HIDDEN}",
    "+model.auth={token:123456789-AAFsecretpart}": f"+model.auth={{token: '{HIDDEN}'}}",
    "+model.auth={token:truesecretword}": f"+model.auth={{token: '{HIDDEN}'}}",
    "+model.auth={token:'correct horse batterystaple'}": f"+model.auth={{token: '{HIDDEN}'}}",
    "+model.x={tokens:[first,second],n:2}": f"+model.x={{tokens: ['{HIDDEN}','{HIDDEN}'],n: 2}}",
    "+model.x=[{a:{password:1234}}]": f"+model.x=[{{a: {{password: '{HIDDEN}'}}}}]",
    "+model.token=a\\ b": f"+model.token={HIDDEN}",
    "+model.token=a,'b c'": f"+model.token={HIDDEN}",
    "+model.x={token:a},{token:null}": f"+model.x={{token: '{HIDDEN}'}},{{token: null}}",
    "++model.api_key@pkg=abc": f"++model.api_key@pkg={HIDDEN}",
    "+model.token=it's [odd": f"+model.token={HIDDEN}",
    "+model.x={token:abc def": f"+model.x={HIDDEN}",
    "data.train='http://me:pw@h/a.csv?token=x&v=1'": (
        f"data.train='http://{HIDDEN}@h/a.csv?token={HIDDEN}&v=1'"
    ),
    "data.train=http://h/a.csv?X-Amz-Signature=x&Key-Pair-Id=y": (
        f"data.train=http://h/a.csv?X-Amz-Signature={HIDDEN}&Key-Pair-Id={HIDDEN}"
    ),
    "+model.token=${oc.env:TOKEN}": "+model.token=${oc.env:TOKEN}",
    **dict.fromkeys(
        (
            *("model.key_dim=16", "model.max_tokens=1e3", "use_key=true", "data.target=token"),
            *("data.train=http://h/a.csv?format=csv&gid=0", "~model.token", "seed=0,1"),
            *("data.target='Access token: count'", "data.drop=[password,key]", "experiment=x"),
        )
    ),
}


@pytest.mark.parametrize(("word", "hidden"), WORDS.items(), ids=WORDS)
def test_secrets_are_hidden_from_the_value_that_hydra_reads(word, hidden):
    wanted = [hidden or word]
    assert hide_in_words([word]) == wanted
    assert hide_in_words(wanted) == wanted


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
PLAIN = st.sampled_from(["x", 1, 2.5, None, True])
NAMES = st.sampled_from(["token", "api_key", "password", "credentials", "auth", "mySecrets"])


@st.composite
def hiding_places(draw):
    """A secret, and a value of any nesting in which it is."""
    secret = draw(st.text(LETTERS, min_size=1, max_size=12)) + "5ecre7ed"
    value = secret
    for _ in range(draw(st.integers(0, 2))):
        beside = draw(st.lists(PLAIN, max_size=2))
        value = draw(st.sampled_from([[*beside, value], {"b": beside, "a": value}]))
    value = {draw(NAMES): value}
    for _ in range(draw(st.integers(0, 2))):
        value = draw(st.sampled_from([[1, value], {"c": value, "d": None}]))
    return secret, value


@given(hiding_places(), st.booleans())
@pytest.mark.slow
def test_no_nesting_and_no_quoting_shows_a_secret(place, known):
    secret, value = place
    word = f"+model.x={spelled(value)}"
    with remembering():
        assert "5ecre7ed" not in hide_in_words([word])[0]
        assert "5ecre7ed" not in str(hide(value))
        remember_words([word]) if known else remember(value)
        for text in (secret, repr(secret), spelled(secret), str(value), f"bad {secret}, sorry"):
            assert "5ecre7ed" not in safe(text)


# --- other texts ---


def test_the_shells_working_folder_is_no_secret(monkeypatch, workdir):
    for name in ("PWD", "PASSWORD_STORE_DIR"):
        monkeypatch.setenv(name, str(workdir))
    monkeypatch.setenv("MYSQL_PWD", "correct horse")
    assert str(workdir) not in secrets()
    assert "correct horse" in secrets()


def test_a_short_secret_is_hidden_only_where_it_is_a_word():
    remember({"password": "hunter2", "token": "ab"})
    assert redact("not 'hunter2', hunter22 or ab") == f"not '{HIDDEN}', hunter22 or ab"


def test_each_line_of_a_secret_is_hidden():
    remember({"key": "-----BEGIN\nMIIEpAIBAAKCAQEA\n"})
    assert "MIIE" not in redact("cannot read MIIEpAIBAAKCAQEA")


def test_addresses_keep_all_but_their_secrets():
    text = "not postgres://me:pw@h/db?sslmode=off or https://h/a?sig=a%20b#x (C:/a@b)"
    wanted = f"not postgres://{HIDDEN}@h/db?sslmode=off or https://h/a?sig={HIDDEN}#x (C:/a@b)"
    assert hide_in_text(text) == wanted
    assert hide_in_text(wanted) == wanted


def test_nobody_prints_a_secret(capsys):
    remember({"token": "5ecre7ed"})
    with safe_streams():
        sys.stdout.write("printed 5ecre7ed \x1b[31m\n")
        sys.stderr.write("5ecre7ed\n")
        logging.getLogger("other").error("%s and %s", "5ecre7ed", "\x1b[31m")
        warning = warnings.formatwarning("warned of 5ecre7ed \x1b[31m", UserWarning, "a.py", 1)
    found = capsys.readouterr()
    assert found.out == f"printed {HIDDEN} \x1b[31m\n"
    assert "5ecre7ed" not in found.err
    assert "\x1b" not in found.err
    assert f"warned of {HIDDEN} \\x1b[31m" in warning
