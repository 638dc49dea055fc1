"""Reads the pieces of a long file ahead of their turn, in a process of its own: begun by `actions/import_pieces.py`.

On its standard input come frames (the length in eight bytes, then so many bytes): first a `Making`, then a piece each, `1` before it where
leads are to be made of its rows, else `0`. For each piece it writes two frames: what of a `ReadPiece` is needed where all its leads are
new, and its sound rows. It ends with its input, and so with the process that began it, however that one ends.
"""

import gc
import pickle
import signal
import sys
from typing import BinaryIO

from app.rules.making import KEYS, Making, read_piece

#: Bytes of the length before a frame.
LENGTH = 8


def _frame(file: BinaryIO) -> bytes:
    length = file.read(LENGTH)
    return file.read(int.from_bytes(length, "big")) if len(length) == LENGTH else b""


def read(asked: BinaryIO, out: BinaryIO) -> None:
    """Read pieces for as long as some are asked for."""
    making: Making = pickle.loads(_frame(asked))  # noqa: S301  (written by who began this process)
    while frame := _frame(asked):
        _answer(frame, making, out)
        del frame  # or it would be held beside the next


def _answer(frame: bytes, making: Making, out: BinaryIO) -> None:
    piece = read_piece(frame[1:].decode(), making, made=frame[:1] == b"1")
    keys = [tuple([row.fields.get(name) for name in KEYS]) for row in piece.sound]
    # As plain tuples, which are read in half the time; the sound rows by themselves, for where all are new nobody needs them.
    made = [tuple(each) for each in piece.made]
    for part in ((piece.rejected, keys, made), [tuple(row) for row in piece.sound]):
        content = pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
        out.write(len(content).to_bytes(LENGTH, "big"))
        out.write(content)
    out.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that is meant for the process that began this one
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    read(sys.stdin.buffer, sys.stdout.buffer)
