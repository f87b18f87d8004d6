import hashlib

from redense.files.kept import key_of, read_kept, write_kept

VALUES = {"a": [1.5, None, "x", float("inf")], "b": {"c": True}}


def test_what_is_kept_comes_back_under_its_key_alone(tmp_path):
    write_kept(tmp_path / "one", "key", VALUES)
    assert read_kept(tmp_path / "one", "key") == {"key": "key", **VALUES}
    assert read_kept(tmp_path / "one", "other") is None
    assert read_kept(tmp_path / "missing", "key") is None


def test_every_changed_byte_is_found(tmp_path):
    write_kept(tmp_path / "one", "key", VALUES)
    content = (tmp_path / "one").read_bytes()
    for place in range(len(content)):
        (tmp_path / "one").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert read_kept(tmp_path / "one", "key") in (None, {"key": "key", **VALUES})


def test_odd_files_are_nothing_kept(tmp_path):
    for number, text in enumerate(["", "7", "[]", "{}", '{"checksum": 1}', "[" * 100_000, "null"]):
        (tmp_path / str(number)).write_text(text)
        assert read_kept(tmp_path / str(number), "key") is None


def test_what_is_nested_deep_is_nothing_kept(tmp_path):
    """At every depth, also one that is read and not written."""
    for depth in (*range(10, 1_200, 10), 3_000, 100_000):
        (tmp_path / "one").write_text('{"checksum": 1, "key": "key", "a": ' + "[" * depth + "]" * depth + "}")
        assert read_kept(tmp_path / "one", "key") is None


def test_keys_are_half_of_the_sha_256_of_sorted_json():
    """Folders hold what lies under these keys; written out, so that nobody changes them unseen."""
    assert key_of({"b": [1, None], "a": "x"}) == hashlib.sha256(b'{"a": "x", "b": [1, null]}').hexdigest()[:32]
    assert key_of(["replicates", 1, ["k"]]) == hashlib.sha256(b'["replicates", 1, ["k"]]').hexdigest()[:32]
