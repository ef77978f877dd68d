from hypothesis import given
from hypothesis import strategies as st

from gflow.store.in_place import InPlace, pack, unpack

NUMBERS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4).map(tuple)


@given(NUMBERS)
def test_what_was_packed_is_read_and_nothing_else_is(numbers):
    data = pack(b"gflowabc", numbers)
    assert len(data) == 12 + 8 * len(numbers)
    assert unpack(data, b"gflowabc", len(numbers)) == numbers
    assert unpack(data + b"more", b"gflowabc", len(numbers)) == numbers
    assert unpack(data, b"gflowabd", len(numbers)) is None
    assert unpack(data, b"gflowabc", len(numbers) + 1) is None
    assert unpack(data[:-1], b"gflowabc", len(numbers)) is None


def test_the_last_one_put_counts(tmp_path):
    path = tmp_path / "mark"
    mark = InPlace(path, b"gflowabc")
    mark.close()
    assert not path.exists(), "no file before there is something to say"
    mark.put(2**64 - 1, 2)
    mark.put(3, 4)
    mark.close()
    assert path.read_bytes() == pack(b"gflowabc", (3, 4))
    mark.put(5, 6)
    mark.close()
    assert unpack(path.read_bytes(), b"gflowabc", 2) == (5, 6)
