"""`python manage.py serve_model`, with the real model."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server_process import eventually, processes_of
from tests.services import EmbeddedModel

pytestmark = pytest.mark.services
ESSAY = {"messages": [{"role": "user", "content": "Write a long essay about rivers."}], "ignore_eos": True}


@pytest.fixture
def model() -> Iterator[EmbeddedModel]:
    with EmbeddedModel() as model:
        yield model


class Question:
    """One request to the model, whose connection the test holds."""

    def __init__(self, model: EmbeddedModel, **body: Any) -> None:
        details = model.details()
        self._connection = HTTPConnection(urlsplit(details["url"]).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {details['key']}"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        self.socket = self._connection.sock
        self._response: HTTPResponse | None = None

    def response(self) -> HTTPResponse:
        self._response = self._response or self._connection.getresponse()
        return self._response

    def hang_up(self) -> None:
        if self.socket.fileno() != -1:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        if self._response:
            self._response.close()
        self._connection.close()


Asking = Callable[..., Question]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Starts questions; those still open at the end of the test are hung up."""
    with ExitStack() as open_questions:

        def start(model: EmbeddedModel, **body: Any) -> Question:
            question = Question(model, **body)
            open_questions.callback(question.hang_up)
            return question

        yield start


def answer(asking: Asking, model: EmbeddedModel) -> str:
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    response = asking(model, messages=messages, max_tokens=80).response()
    return str(json.load(response)["choices"][0]["message"]["content"])


def busy_slots(model: EmbeddedModel) -> int:
    details = model.details()
    with closing(HTTPConnection(urlsplit(details["url"]).netloc, timeout=10)) as connection:
        connection.request("GET", "/slots", headers={"Authorization": f"Bearer {details['key']}"})
        with connection.getresponse() as response:
            return sum(slot["is_processing"] for slot in json.load(response))


def has_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_model_answers_a_question(asking: Asking, embedded_model: EmbeddedModel) -> None:
    assert "light" in answer(asking, embedded_model)


def test_what_the_web_process_needs_is_in_a_file_for_the_owner_alone(embedded_model: EmbeddedModel) -> None:
    file = embedded_model.folder / "model.json"
    assert file.stat().st_mode & 0o777 == 0o600
    details = embedded_model.details()
    assert details["model"] == "smollm2-135m-instruct"
    assert urlsplit(details["url"]).hostname == "127.0.0.1"


def test_nobody_without_the_key_is_answered(embedded_model: EmbeddedModel) -> None:
    address = urlsplit(embedded_model.details()["url"]).netloc
    with closing(HTTPConnection(address, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(ESSAY))
        with connection.getresponse() as response:
            assert response.status == 401


def test_the_model_gives_way_to_the_web_process(embedded_model: EmbeddedModel) -> None:
    pid = embedded_model.details()["pid"]
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    assert niceness > 0
    autogroup = Path(f"/proc/{pid}/autogroup")
    assert not autogroup.exists() or autogroup.read_text().endswith(f" nice {niceness}\n")


def test_a_conversation_without_its_oldest_turns_is_not_read_all_over(
    asking: Asking, embedded_model: EmbeddedModel
) -> None:
    turns = [
        [
            {"role": "user", "content": f"Question {turn}: " + " ".join(f"word{turn * n}" for n in range(15))},
            {"role": "assistant", "content": f"Answer {turn}: " + " ".join(f"reply{turn + n}" for n in range(25))},
        ]
        for turn in range(5)
    ]
    read = []
    for kept in (turns[:4], turns[1:]):
        system = {"role": "system", "content": "You are Jarvis, a helpful assistant."}
        messages = [system, *(message for turn in kept for message in turn), {"role": "user", "content": "And now?"}]
        with asking(embedded_model, messages=messages, max_tokens=5).response() as response:
            read.append(json.load(response)["timings"]["prompt_n"])
    assert read[1] < read[0] / 2


def test_llama_cpp_talks_to_its_own_log_only(embedded_model: EmbeddedModel) -> None:
    assert "The model is ready: smollm2-135m-instruct" in embedded_model.output()
    assert "load_model" not in embedded_model.output()
    assert "load_model" in (embedded_model.folder / "logs" / "model.log").read_text()


def test_four_answers_run_together_and_a_fifth_waits(asking: Asking, embedded_model: EmbeddedModel) -> None:
    four = [asking(embedded_model, **ESSAY, stream=True, max_tokens=1500) for _ in range(4)]
    eventually(lambda: busy_slots(embedded_model) == 4, "four answers running")
    fifth = asking(embedded_model, **ESSAY, stream=True, max_tokens=5)
    fifth.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        fifth.socket.recv(1, socket.MSG_PEEK)
    four[0].hang_up()
    fifth.socket.settimeout(30)
    assert b"[DONE]" in fifth.response().read()
    for question in four[1:]:
        question.hang_up()
    eventually(lambda: busy_slots(embedded_model) == 0, "nothing left running")


@pytest.mark.parametrize("when", ["before the first token", "in mid-stream"])
def test_hanging_up_stops_the_work(asking: Asking, embedded_model: EmbeddedModel, when: str) -> None:
    question = asking(embedded_model, **ESSAY, stream=True, max_tokens=1500)
    if when == "in mid-stream":
        question.response().readline()
    eventually(lambda: busy_slots(embedded_model) == 1, "the answer running")
    question.hang_up()
    eventually(lambda: busy_slots(embedded_model) == 0, "the work stopped", seconds=1)


def test_many_waiting_prompts_do_not_hold_up_a_short_request(asking: Asking, embedded_model: EmbeddedModel) -> None:
    questions = [asking(embedded_model, **ESSAY, stream=True, max_tokens=1500) for _ in range(40)]
    eventually(lambda: busy_slots(embedded_model) == 4, "all slots are said to be busy", seconds=4)
    for question in questions:
        question.hang_up()
    eventually(lambda: busy_slots(embedded_model) == 0, "nothing left running")


def test_a_killed_model_is_started_again_and_answers(asking: Asking, model: EmbeddedModel) -> None:
    before = model.details()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: model.is_ready() and model.details()["pid"] != before["pid"], "started again", seconds=30)
    assert model.details()["key"] != before["key"]
    assert "light" in answer(asking, model)
    assert model.output().count("model_down") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_quick_and_leaves_nothing(model: EmbeddedModel, how: signal.Signals) -> None:
    assert model.process is not None
    pids = processes_of(model.process.pid)
    assert len(pids) == 2
    model.process.send_signal(how)
    assert model.process.wait(3) == 0
    assert all(has_gone(pid) for pid in pids)
    assert model.details() == {}
    assert "Traceback" not in model.output()


def test_an_answer_may_end_before_the_model_does(asking: Asking, model: EmbeddedModel) -> None:
    question = asking(model, **ESSAY, stream=True, max_tokens=4)
    answer = question.response()
    answer.readline()  # its first token: what is left takes less than the model's patience, on a busy machine too
    model.stop()
    assert b"[DONE]" in answer.read()


def test_an_answer_without_end_does_not_hold_up_the_end(asking: Asking, model: EmbeddedModel) -> None:
    question = asking(model, **ESSAY, stream=True, max_tokens=1900)
    question.response().readline()
    assert model.process is not None
    model.process.terminate()
    assert model.process.wait(10) == 0  # the whole answer takes 20 s and more
    question.hang_up()


def test_the_model_does_not_outlive_its_killed_watcher(model: EmbeddedModel) -> None:
    assert model.process is not None
    llama = model.details()["pid"]
    model.process.kill()
    model.process.wait()
    eventually(lambda: has_gone(llama), "llama.cpp gone", seconds=3)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CHAT_MODEL_PATH": "/nowhere.gguf"}, "There is no file at CHAT_MODEL_PATH=/nowhere.gguf."),
        ({"CHAT_MODEL_PATH": __file__}, "Failed to init server"),
    ],
)
def test_a_model_that_cannot_run_is_told_and_waited_for(settings: dict[str, str], sentence: str) -> None:
    model = EmbeddedModel(**settings)
    model.is_ready = lambda: "message" in model.details() and model.details()["state"] == "down"  # type: ignore[method-assign]
    with model:
        assert sentence in model.details()["message"]
        eventually(lambda: sentence in model.output(), "said on the console")
        assert model.process is not None
        assert model.process.poll() is None
        model.process.terminate()
        assert model.process.wait(3) == 0


def test_another_endpoint_leaves_nothing_to_do() -> None:
    model = EmbeddedModel(CHAT_PROVIDER_URL="http://127.0.0.1:9/v1")
    model.is_ready = lambda: "http://127.0.0.1:9/v1 answers" in model.output()  # type: ignore[method-assign]
    with model:
        assert model.details() == {}
        assert model.process is not None
        assert processes_of(model.process.pid) == [model.process.pid]
