import hashlib
from pathlib import Path

from qnerf.common.hashes import checksum, digest


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": [2, 3]}) != digest({"a": [3, 2]})


def test_a_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert checksum(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
