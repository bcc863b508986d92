"""Captions by an OpenAI-style server: what it is asked, what is borne with, and what is kept when it fails."""

from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.faults import InputFault, StageFault
from data_contracts.project_file import load_project
from flows.checks.preflight import missing_weights
from models.caption.answers import UnreadableAnswer
from models.caption.asking import ATTEMPTS
from models.caption.chat_server import ChatServer, ChatServerFault, Patience
from models.caption.openai_server import MAX_SIDE, OpenAIServer
from models.caption.template import Facts
from models.weights import MissingWeights
from tasks import caption_images as captioning
from tests.models.chat_servers import MODEL, Reply, fake_server, in_turn, said, seen_in
from tests.small_project import CONFIG

HASTY = Patience(timeout_s=20, greeting_s=20, tries=5, first_wait_s=0.01, max_wait_s=0.02)
IMPATIENT = replace(HASTY, timeout_s=0.5, greeting_s=0.5)
LATE_S = 1.0
SAILS = {"details": ["boats at the quay"]}
BOATS = Facts(details=("boats at the quay",))
CROP = np.full((30, 40, 3), (200, 100, 50), np.uint8)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch):
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    captioning.release_captioner()
    yield
    captioning.release_captioner()


def describe(address: str, crop: np.ndarray, patience: Patience = HASTY):
    return OpenAIServer(address, MODEL, patience).describe([crop], [Facts()], "background")


def test_picture_question_and_schema_are_sent_and_the_answer_is_read(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with fake_server(in_turn(said(SAILS))) as server:
        assert describe(f"{server.address}/v1/", CROP) == [BOATS]
    (asked,) = server.requests
    _, question = asked["messages"][0]["content"]
    assert np.array_equal(seen_in(asked), CROP)
    assert '"details"' in question["text"]
    assert (asked["model"], asked["temperature"]) == (MODEL, 0.0)
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["details"]
    assert server.keys == ["Bearer sk-secret"]


def test_large_pictures_are_sent_smaller():
    with fake_server(in_turn(said(SAILS))) as server:
        describe(server.address, np.zeros((500, 3 * MAX_SIDE, 3), np.uint8))
    assert seen_in(server.requests[0]).shape == (167, MAX_SIDE, 3)


def test_all_pictures_of_a_batch_are_asked_about_at_once_and_answered_in_order():
    together = Barrier(6, timeout=60)

    def by_colour(_, asked):
        together.wait()
        return said({"details": [f"grey {seen_in(asked)[0, 0, 0]}"]})

    with fake_server(by_colour) as server:
        crops = [np.full((8, 8, 3), grey, np.uint8) for grey in range(6)]
        captioner = OpenAIServer(server.address, MODEL, Patience(timeout_s=20))
        facts = captioner.describe(crops, [Facts()] * 6, "background")
    assert facts == [Facts(details=(f"grey {grey}",)) for grey in range(6)]


def test_a_server_that_knows_no_schema_is_asked_without_one():
    def old(_, asked):
        return Reply(400, "unknown field response_format") if "response_format" in asked else said(SAILS)

    with fake_server(old) as server:
        captioner = OpenAIServer(server.address, MODEL, HASTY)
        for _ in range(2):
            assert captioner.describe([CROP], [Facts()], "background") == [BOATS]
    assert ["response_format" in asked for asked in server.requests] == [True, False, False]


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(500, "boom"),
        Reply(503),
        Reply(429, "slow down", {"Retry-After": "0.01"}),
        Reply(429, "slow down", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        Reply(599, "a proxy's own"),
        Reply(200, "<html>not JSON</html>"),
        Reply(200, {"choices": []}),
        Reply(200, {"choices": [{"message": {"content": 7}}]}),
        Reply(200, said(SAILS).body, delay_s=LATE_S),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:12]} {reply.delay_s}",
)
def test_what_may_go_away_is_waited_for(trouble):
    with fake_server(in_turn(trouble, trouble, said(SAILS))) as server:
        assert describe(server.address, CROP, IMPATIENT if trouble.delay_s else HASTY) == [BOATS]
        assert len(server.requests) == 3


def test_what_does_not_go_away_is_a_clear_failure():
    with fake_server(in_turn(Reply(500, "CUDA out\nof memory"))) as server:
        with pytest.raises(StageFault, match="500 Internal Server Error: CUDA out of memory, 5 times") as failure:
            describe(server.address, CROP)
        assert len(server.requests) == HASTY.tries
    assert server.address in str(failure.value)
    assert "finished shots are kept" in str(failure.value)
    assert failure.value.exit_code == 1


def test_a_server_that_goes_away_is_a_clear_failure():
    with fake_server() as server:
        captioner = OpenAIServer(server.address, MODEL, HASTY)
    with pytest.raises(StageFault, match=r"does not answer \(ConnectError.*5 times: see its log, or start it"):
        captioner.describe([CROP], [Facts()], "background")


def test_a_refusal_is_said_at_once_and_never_with_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with fake_server(in_turn(Reply(401, "wrong key sk-secret"))) as server:
        with pytest.raises(
            ChatServerFault, match=r"401 Unauthorized: wrong key …: set the .* OPENAI_API_KEY"
        ) as failure:
            describe(server.address, CROP)
        assert len(server.requests) == 1
    assert "sk-secret" not in str(failure.value)


def test_an_answer_that_cannot_be_read_is_asked_for_again_and_then_given_up():
    with fake_server(in_turn(said("A quay."), said({"details": 3}), said(SAILS))) as server:
        assert describe(server.address, CROP) == [BOATS]
    first, second, third = server.requests
    assert [asked["temperature"] > 0 for asked in server.requests] == [False, True, True]
    assert first["seed"] != second["seed"] != third["seed"]
    assert "could not be read: it holds no JSON object" in second["messages"][0]["content"][1]["text"]
    nothing = Reply(body={"choices": [{"message": {"content": None}}]})
    with fake_server(in_turn(nothing)) as server:
        (fault,) = describe(server.address, CROP)
        assert isinstance(fault, UnreadableAnswer)
        assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("models", "model", "message"),
    [
        (
            Reply(body={"data": [{"id": "a"}, {"id": "b"}]}),
            "c",
            r"caption.model 'c' is not served at .*: name one of a, b",
        ),
        (Reply(body={"data": [{"id": "a"}]}), None, r"`caption.model` is not set at .*: name one of a"),
        (Reply(404), "c", "404 Not Found: : mend `caption.server`"),
        (Reply(200, "hello"), "c", "lists no models under /v1/models: start it"),
        (Reply(200, delay_s=LATE_S), "c", r"does not answer \(ReadTimeout"),
    ],
)
def test_what_cannot_be_used_is_known_before_a_run(models, model, message):
    with fake_server() as server:
        server.models = models
        with pytest.raises(MissingWeights, match=message):
            OpenAIServer(server.address, model, IMPATIENT if models.delay_s else HASTY)


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:port", "http://\ud800"])
def test_what_is_no_address_is_said_so(address):
    with pytest.raises(MissingWeights, match="is no address"):
        OpenAIServer(address, MODEL, HASTY)


def test_preflight_greets_the_server_of_every_lora(monkeypatch):
    monkeypatch.delenv("REEL2LORA_ALLOW", raising=False)
    with fake_server() as server, fake_server() as gone:
        caption = {f"loras.{name}.caption.{key}": value
                   for name, address in (("luca", server.address), ("happy", gone.address))
                   for key, value in (("backend", "openai-server"), ("server", address), ("model", MODEL))}  # fmt: skip
        assert missing_weights(load_project(CONFIG, caption)) == []
        gone.models = Reply(503)
        captioning.release_captioner()
        (fault,) = missing_weights(load_project(CONFIG, caption))
    assert fault.startswith(f"loras.*.caption.backend openai-server: the captioning server {gone.address} answers 503")
    without = load_project(CONFIG, {"loras.luca.caption.backend": "openai-server"})
    (fault,) = missing_weights(without)
    assert "`caption.server` is not set" in fault


@pytest.mark.parametrize(
    "address",
    ["ftp://x", "localhost:8000", "http://", "http://me:sk-1@x", "http://x/v1?key=sk-1", "file:///x", "http://a b"],
)
def test_only_a_plain_http_address_is_a_server(address):
    with pytest.raises(InputFault, match=r"loras\.luca\.caption\.server.*without name, key or query"):
        load_project(CONFIG, {"loras.luca.caption.server": f"'{address}'"})


@given(st.integers(1, 60), st.none() | st.floats(0, 1e9))
def test_waits_grow_and_never_exceed_the_longest(tried, wished):
    patience = Patience()
    wait = patience.wait_s(tried, wished)
    assert 0 <= wait <= patience.max_wait_s
    if wished is None:
        assert wait >= 0.5 * min(patience.max_wait_s, 2.0 ** (tried - 1))


def test_the_key_is_read_from_the_environment_alone(monkeypatch):
    with fake_server() as server:
        ChatServer(server.address, HASTY).complete({"model": MODEL})
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        ChatServer(server.address, HASTY).complete({"model": MODEL})
    assert server.keys == [None, "Bearer sk-other"]
