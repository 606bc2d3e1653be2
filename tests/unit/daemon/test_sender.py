"""Signatures and routes of the sending process."""

import base64

import pytest

from daemon.sender import routes, sign, through_webhook, webhook_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_signature_is_the_published_one() -> None:
    """The example of the Standard Webhooks reference libraries gives their signature."""
    signature = sign(webhook_key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + base64.b64encode(bytes(23)).decode(),
     "whsec_" + base64.b64encode(bytes(65)).decode(), "whsec_????????????????????????????????", SECRET + "\n"],
)  # fmt: skip
def test_weak_secrets_are_refused(secret: str) -> None:
    """A secret is whsec_ and 24 to 64 bytes; anything else would sign with something that can be guessed."""
    with pytest.raises(ValueError, match=r"secret|base64|padding|character"):
        through_webhook("https://farm.example", secret)


def test_unusable_receivers_are_told_apart() -> None:
    """The good ones stay usable beside the bad ones."""
    setup = {
        "targets": {"studio": "json://127.0.0.1/", "typo": "jsson://127.0.0.1/"},
        "webhooks": {"farm": ["https://farm.example", SECRET], "weak": ["https://farm.example", "whsec_AAAA"]},
    }
    usable, unusable = routes(setup)
    assert (set(usable), set(unusable)) == ({"studio", "farm"}, {"typo", "weak"})
