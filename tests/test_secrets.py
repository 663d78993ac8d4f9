"""Which names mean a secret, and what is hidden of texts that hold one."""

import pytest

from mlrun.system.secrets import HIDDEN, hide, hide_in_text, hide_in_words, is_secret, secrets


@pytest.mark.parametrize(
    "name",
    [
        *("model.token", "api_key", "apiKey", "APIKEY", "my-secret", "db.passwords"),
        *("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MYSQL_PWD"),
        *("authtoken", "model.key2", "credentials", "DB_PASS", "MASTERKEY", "license_keys"),
    ],
)
def test_a_word_of_the_name_makes_a_secret(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["model.tokenizer", "keypoints", "monkey", "keyboard", "KEYMAP", "secretary", "model.hidden"],
)
def test_a_word_that_only_contains_one_is_no_secret(name):
    assert not is_secret(name)


def test_only_the_values_of_secret_names_are_hidden():
    model = {"tokenizer": "bpe", "keypoints": "coco", "api_key": "abc", "auth": {"token": ["x"]}}
    hidden = {"api_key": HIDDEN, "auth": {"token": [HIDDEN]}}
    assert hide(model) == model | hidden


def test_texts_keep_everything_but_the_secret_values():
    text = "model: {my_token: abc, tokenizer: bpe, n_tokens: 5}\napi-key:xyz\nurl: http://a"
    wanted = f"model: {{my_token: {HIDDEN}, tokenizer: bpe, n_tokens: 5}}\napi-key:{HIDDEN}\n"
    assert hide_in_text(text) == wanted + "url: http://a"


def test_the_shells_working_folder_is_no_secret(monkeypatch, workdir):
    monkeypatch.setenv("PWD", str(workdir))
    monkeypatch.setenv("MYSQL_PWD", "correct horse")
    assert str(workdir) not in secrets()
    assert "correct horse" in secrets()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("password: correct horse battery", f"password: {HIDDEN}"),
        ("token: 123-abcdef", f"token: {HIDDEN}"),
        ("token: trueblue99", f"token: {HIDDEN}"),
        ("token: 'a: b, c'", f"token: {HIDDEN}"),
        ("key_dim: 16", "key_dim: 16"),
        ("token: null", "token: null"),
    ],
)
def test_a_secret_value_is_hidden_completely(line, wanted):
    assert hide_in_text(f"a: 1\n{line}\nb: 2\n") == f"a: 1\n{wanted}\nb: 2\n"


def test_numbers_under_a_secret_name_stay_in_words():
    words = ["model.key_dim=16", "model.max_tokens=1e3", "model.token=abc", "use_key=true"]
    hidden = ["model.key_dim=16", "model.max_tokens=1e3", f"model.token={HIDDEN}", "use_key=true"]
    assert hide_in_words(words) == hidden
