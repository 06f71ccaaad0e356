"""Files at the simulator: upload, import, list, read, delete, expire."""

import hashlib
import http.server
import threading
from contextlib import contextmanager

import openai
import pytest
from batch_wire import azure_client, client, create, lines, run, until, upload
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_wire import call, post

from openai_parallel_toolkit.simulator import BatchLimits, Fault, SimKey, Simulator

KEYS = (SimKey("good"), SimKey("other"), SimKey("azure"), SimKey("spent", quota="none"))


MARK = b"--b"


@pytest.fixture(scope="module")
def forms():
    with Simulator(KEYS) as simulator:
        yield simulator


@pytest.fixture
def sim():
    with Simulator(KEYS, seed=7, batch_seconds=0.02) as simulator:
        yield simulator


@pytest.fixture
def api(sim):
    with client(sim) as made:
        yield made


@pytest.fixture
def azure(sim):
    with azure_client(sim) as made:
        yield made


def test_an_uploaded_file_is_kept_as_it_came(api):
    file = upload(api, b"a\nb\r\n\0")
    assert (file.filename, file.purpose, file.status, file.bytes) == (
        "in.jsonl",
        "batch",
        "processed",
        6,
    )
    assert api.files.retrieve(file.id) == file
    assert api.files.content(file.id).content == b"a\nb\r\n\0"


def test_a_deleted_file_is_gone(sim, api):
    file = upload(api, b"x")
    assert api.files.delete(file.id).deleted
    assert sim.files.stored() == []
    for look in (api.files.retrieve, api.files.content, api.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            look(file.id)
        assert caught.value.body["message"] == f"No such File object: {file.id}"


def test_a_file_is_seen_by_its_own_key_alone(sim, api):
    file = upload(api, b"x")
    with client(sim, "other") as stranger:
        assert list(stranger.files.list()) == []
        with pytest.raises(openai.NotFoundError):
            stranger.files.retrieve(file.id)
        with pytest.raises(openai.BadRequestError):
            create(stranger, file.id)


def test_files_are_listed_newest_first_and_page_by_page(api):
    made = [upload(api, b"x").id for _ in range(5)]
    assert [file.id for file in api.files.list(limit=2)] == made[::-1]
    assert [file.id for file in api.files.list(order="asc", after=made[1])] == made[2:]
    assert list(api.files.list(purpose="batch_output")) == []
    first = api.files.list(limit=2)
    assert (first.has_more, len(first.data)) == (True, 2)
    for query in ({"limit": 0}, {"after": "nothing"}):
        with pytest.raises(openai.BadRequestError):
            api.files.list(**query)


def test_a_file_expires_when_it_was_asked_to():
    now = [0.0]
    with Simulator(KEYS, clock=lambda: now[0]) as sim, client(sim) as api:
        file = upload(api, b"x", expires_after={"anchor": "created_at", "seconds": 3600})
        forever = upload(api, b"y")
        assert file.expires_at == file.created_at + 3600
        now[0] = 3599.0
        assert api.files.retrieve(file.id) == file
        now[0] = 3600.0
        assert [kept.id for kept in api.files.list()] == [forever.id]
        assert [kept.id for kept in sim.files.stored()] == [forever.id]
        with pytest.raises(openai.BadRequestError):
            upload(api, b"x", expires_after={"anchor": "created_at", "seconds": 10})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "nonsense"}, "purpose"),
        ({"file": ("in.txt", b"x")}, "file"),
    ],
)
def test_an_upload_that_cannot_be_used_is_refused(sim, api, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        api.files.create(**{"file": ("in.jsonl", b"x"), "purpose": "batch", **fields})
    assert caught.value.body["param"] == param
    assert sim.files.stored() == []


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=b", "application/json"]
)
def test_an_upload_that_is_no_form_is_refused(sim, content_type):
    headers = {"Authorization": "Bearer sim-good", "Content-Type": content_type}
    assert call(sim, "POST", "/v1/files", b"--b\r\nnonsense", headers).status == 400


def test_a_file_that_is_too_large_is_refused():
    limits = BatchLimits(file_bytes=10)
    with Simulator(KEYS, batch_limits=limits) as sim, client(sim) as api:
        upload(api, b"x" * 10)
        with pytest.raises(openai.APIStatusError) as caught:
            upload(api, b"x" * 11)
        assert caught.value.status_code == 413


def test_azure_keeps_a_number_of_files_only():
    limits = BatchLimits(azure_files=2)
    with Simulator(KEYS, batch_limits=limits) as sim, azure_client(sim) as azure:
        files = [upload(azure, b"x") for _ in range(2)]
        with pytest.raises(openai.BadRequestError):
            upload(azure, b"x")
        azure.files.delete(files[0].id)
        upload(azure, b"x")


def test_an_upload_to_azure_is_pending_at_first(azure):
    file = upload(azure, lines(1))
    assert file.status == "pending"
    assert until(azure.files.retrieve, file.id, "processed").bytes == len(lines(1))
    assert azure.files.content(file.id).content == lines(1)


def test_a_pending_file_can_be_neither_read_nor_used():
    with Simulator(KEYS, batch_seconds=1000) as sim, azure_client(sim) as azure:
        file = upload(azure, lines(1))
        with pytest.raises(openai.BadRequestError):
            azure.files.content(file.id)
        with pytest.raises(openai.BadRequestError):
            create(azure, file.id)


def import_file(azure, **fields):
    asked = {"filename": "in.jsonl", "purpose": "batch", **fields}
    return azure.post("/files/import", body=asked, cast_to=openai.types.FileObject)


def test_azure_imports_a_file_from_a_url(azure):
    with served(lines(2)) as url:
        file = import_file(azure, content_url=url)
        assert (file.status, file.bytes) == ("pending", 0)
        assert until(azure.files.retrieve, file.id, "processed").bytes == len(lines(2))
    assert azure.files.content(file.id).content == lines(2)


def test_an_import_of_what_cannot_be_read_ends_in_an_error(azure):
    with served(b"x") as url:
        file = import_file(azure, content_url=f"{url}-missing")
        broken = until(azure.files.retrieve, file.id, "error")
    assert "404" in broken.status_details
    with pytest.raises(openai.BadRequestError):
        import_file(azure, content_url="file:///etc/passwd")


def test_a_key_without_quota_can_still_fetch_its_files(sim):
    with client(sim, "spent") as spent:
        file = upload(spent, lines(1))
        assert spent.files.content(file.id).content == lines(1)
        with pytest.raises(openai.RateLimitError):
            create(spent, file.id)


def test_uploads_cost_nothing_and_their_rows_tell_the_file(sim, api):
    upload(api, b"same")
    upload(api, b"same")
    first, second = sim.ledger.rows()
    assert (first.path, first.billed, first.status) == ("/v1/files", False, 200)
    assert first.payload == second.payload


def test_a_reply_to_an_upload_can_be_lost_after_it_took_effect(sim, api):
    sim.script.replace([Fault("cut_body", path="/files", times=1)])
    with pytest.raises(openai.APIConnectionError):
        upload(api, b"x")
    assert len(sim.files.stored()) == 1


@pytest.mark.parametrize(("billed", "kept"), [(None, 0), (True, 1)])
def test_an_error_comes_before_the_effect_unless_the_rule_says_otherwise(sim, api, billed, kept):
    sim.script.replace([Fault("500", path="/files", billed=billed)])
    with pytest.raises(openai.InternalServerError):
        upload(api, b"x")
    assert len(sim.files.stored()) == kept


def test_rules_for_other_methods_meet_reads_and_deletes(sim, api):
    file = upload(api, b"some content")
    sim.script.replace(
        [
            Fault("cut_body", method="GET", path="/content", times=1),
            Fault("503", method="DELETE", times=1),
        ]
    )
    with pytest.raises(openai.APIConnectionError):
        api.files.content(file.id)
    with pytest.raises(openai.InternalServerError):
        api.files.delete(file.id)
    assert api.files.content(file.id).content == b"some content"


def test_a_marker_looks_at_the_name_of_an_upload_and_not_into_it(sim, api):
    sim.script.replace([Fault("500", marker="poison")])
    upload(api, b"poison")
    with pytest.raises(openai.InternalServerError):
        upload(api, b"x", name="poison.jsonl")


def test_reset_forgets_files_and_batches(sim, api):
    run(api, lines(1))
    call(sim, "POST", "/__reset")
    assert (sim.files.stored(), sim.batches.batches()) == ([], [])


@settings(max_examples=60, deadline=None)
@given(content=st.binary(), seconds=st.integers(3600, 2_592_000))
def test_a_form_gives_back_what_was_put_in(forms, content, seconds):
    if MARK in content:
        return
    parts = [
        b'name="purpose"\r\n\r\nuser_data',
        b'name="expires_after[anchor]"\r\n\r\ncreated_at',
        b'name="expires_after[seconds]"\r\n\r\n%d' % seconds,
        b'name="file"; filename="a b.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + content,
    ]
    body = b"".join(
        MARK + b"\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts
    )
    assert post_form(forms, body + MARK + b"--\r\n").status == 200
    file, row = forms.files.stored()[-1], forms.ledger.rows()[-1]
    assert (file.name, file.purpose, file.content) == ("a b.bin", "user_data", content)
    assert file.expires_s == file.created_s + seconds
    assert row.payload == hashlib.sha256(content).hexdigest()


@settings(max_examples=200, deadline=None)
@given(
    st.binary()
    | st.lists(
        st.binary(max_size=5)
        | st.sampled_from(
            [
                MARK,
                b"--",
                b"\r\n",
                b"Content-Disposition: form-data;",
                b"Content-Type: multipart/mixed; boundary=c",
                b" name*=x",
                b"; filename=",
            ]
        )
    ).map(b"".join)
)
def test_any_bytes_are_a_form_without_a_file_or_none(forms, body):
    count = len(forms.files.stored())
    assert post_form(forms, body).status == 400
    assert post_form(forms, MARK + b"\r\n" + body).status == 400
    assert len(forms.files.stored()) == count


def post_form(sim, body):
    return post(sim, body, path="/v1/files", **{"Content-Type": "multipart/form-data; boundary=b"})


@contextmanager
def served(content):
    """Serve bytes at one URL on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_here = self.path == "/in.jsonl"
            self.send_response(200 if is_here else 404)
            self.send_header("Content-Length", str(len(content) if is_here else 0))
            self.end_headers()
            self.wfile.write(content if is_here else b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/in.jsonl"
        finally:
            server.shutdown()
            thread.join()
