"""Batches: complete, shuffled by (seed, epoch), never a lone last row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrun.training.batches import batch_sizes, row_order


@given(count=st.integers(1, 500), batch_size=st.integers(1, 60))
def test_every_row_is_in_exactly_one_batch(count, batch_size):
    assert sum(batch_sizes(count, batch_size)) == count
    assert sorted(order(count)) == list(range(count))


@given(count=st.integers(2, 500), batch_size=st.integers(2, 60))
def test_no_batch_has_a_single_row(count, batch_size):
    assert min(batch_sizes(count, batch_size)) >= 2


def test_a_table_smaller_than_a_batch_is_one_batch():
    assert batch_sizes(3, 128) == [3]


def order(count=10, *, seed=0, epoch=1, shuffle=True):
    return row_order(count, seed=seed, epoch=epoch, shuffle=shuffle).tolist()


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 2}])
def test_the_order_is_a_function_of_seed_and_epoch(other):
    assert order() == order()
    assert order() != order(**other)


def test_without_shuffling_rows_come_in_their_own_order():
    assert order(shuffle=False) == list(range(10))
