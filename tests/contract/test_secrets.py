import json
from urllib.parse import quote

import pytest

from services.contract.secrets import redact, register_environment, register_secret


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-" + "ant-" + "api03" * 6,
        "hf_abcdefghijklmnopqrstuvwx",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_the_usual_shapes_of_keys_are_masked(secret: str) -> None:
    assert redact(f"key={secret}, end") == "key=[redacted], end"


def test_a_bearer_token_and_a_password_in_a_url_are_masked() -> None:
    assert redact("Authorization: Bearer abcdefghijklmnop1234") == "Authorization: Bearer [redacted]"
    assert redact("postgres://me:hunter22@db/x") == "postgres://[redacted]@db/x"
    assert redact("redis://:hunter22@cache/0") == "redis://[redacted]@cache/0"


def test_a_registered_secret_is_masked_in_every_form_in_which_it_may_show() -> None:
    secret = 'first-line-of-it\nsecond "line" of it/é'
    register_secret(secret)

    shown = [secret, 'second "line" of it/é', json.dumps(secret), json.dumps(secret, ensure_ascii=False)]
    masked = [redact(text) for text in (*shown, f"https://host/?key={quote(secret, safe='')}")]

    assert masked == ["[redacted]", "[redacted]", '"[redacted]"', '"[redacted]"', "https://host/?key=[redacted]"]


def test_values_of_variables_named_like_secrets_are_masked_and_others_stay() -> None:
    register_environment({"MY_API_KEY": "planted-value-1", "LLM_MODEL": "qwen3-32b-model", "OTHER_TOKEN": "EMPTY"})

    assert redact("planted-value-1 qwen3-32b-model EMPTY") == "[redacted] qwen3-32b-model EMPTY"
