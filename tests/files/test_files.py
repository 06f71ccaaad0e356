import errno
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.core.errors import StorageError, UnsafePath
from openai_parallel_toolkit.core.filesystem import (
    atomic_file,
    check_relative,
    filesystem_kind,
    free_bytes,
    is_case_insensitive,
    is_disk_trouble,
    name_key,
    open_regular,
    refuse_network,
    storage_error,
)
from openai_parallel_toolkit.core.own_files import private_folder

MOUNTS = rb"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/me/local\040disk rw master:1 - xfs /dev/vdb rw
32 22 0:42 / /mnt/ssh rw - fuse.sshfs me@host: rw
33 22 0:43 / /mnt/win rw - cifs //host/share rw
34 22 0:44 / /mnt/win rw - tmpfs tmpfs rw
35 22 0:45 / /mnt/win2 rw - cifs //host/share rw
"""


@pytest.fixture
def mounts(tmp_path):
    (tmp_path / "mountinfo").write_bytes(MOUNTS)
    return str(tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/data", "ext4"),
        ("/home/me/out", "nfs4"),
        ("/homes/me", "ext4"),
        ("/home/me/local disk/out", "xfs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/win/x", "tmpfs"),
        ("/mnt/win2/x", "cifs"),
    ],
)
def test_the_nearest_and_latest_mount_tells_the_kind(mounts, path, kind):
    assert filesystem_kind(path, mounts=mounts) == kind


def test_this_machine_has_a_kind_and_room(tmp_path):
    assert filesystem_kind(str(tmp_path))
    assert free_bytes(str(tmp_path)) > 0
    assert filesystem_kind("/", mounts=str(tmp_path / "none")) == ""


def test_state_on_a_network_is_refused_with_the_way_out(mounts):
    refuse_network("/srv/data", mounts=mounts)
    with pytest.raises(StorageError, match="state_path") as caught:
        refuse_network("/home/me/out", mounts=mounts)
    assert "nfs4" in str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "a//b", "./a", "a/", "a\0b", "."]
)
def test_paths_that_could_leave_are_unsafe(path):
    with pytest.raises(UnsafePath):
        check_relative(path)


@given(parts=st.lists(st.sampled_from(["a", "b c", "..", ".", "", "...", "\n", "é"]), min_size=1))
def test_what_passes_stays_below(parts):
    path = "/".join(parts)
    try:
        check_relative(path)
    except UnsafePath:
        assert any(part in ("", ".", "..") for part in parts)
    else:
        assert os.path.normpath(os.path.join("/root", path)).startswith("/root/")


def test_only_ordinary_files_with_one_name_are_opened(tmp_path):
    (tmp_path / "a").write_text("x")
    os.close(open_regular(str(tmp_path / "a")))
    os.symlink("a", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(UnsafePath):
            open_regular(str(tmp_path / name))
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UnsafePath):
        open_regular(str(tmp_path / "a"))


def test_a_private_folder_is_closed_to_others(tmp_path):
    path = private_folder(str(tmp_path / "x" / "state"))
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert private_folder(path) == path
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        private_folder(str(tmp_path / "file"))


def test_the_probe_leaves_nothing_behind(tmp_path):
    assert is_case_insensitive(str(tmp_path)) is False
    assert name_key(str(tmp_path))("Aé") == "Aé"
    assert os.listdir(tmp_path) == []


def test_disk_trouble_is_told_from_a_files_own_trouble():
    assert is_disk_trouble(OSError(errno.ENOSPC, "full"))
    assert is_disk_trouble(storage_error(OSError(errno.EIO, "bad"), "p"))
    assert not is_disk_trouble(OSError(errno.EACCES, "no"))
    assert not is_disk_trouble(ValueError())


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path, is_durable):
    (tmp_path / "a").write_text("old")
    with atomic_file(str(tmp_path / "a"), mode=0o600, is_durable=is_durable) as part:
        with open(part, "w") as file:
            file.write("new")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(str(tmp_path / "a")):
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
