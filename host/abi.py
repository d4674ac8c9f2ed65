"""What host software and hardware must agree on: registers, program image, frames and error codes.

Plain Python (3.10, no third-party import) and the only place where any of this is written down; the
hardware, the planner, the simulators and the host all import it.

Conventions: all words are 32 bits, little-endian. A *beat* is one 32-bit word of an AXI4-Stream. A field is
written ``(name, bits)`` or ``(name, bits, "signed")``; the fields of a row are packed from bit 0 upwards
without gaps, and a row is padded to a multiple of 32 bits.
"""

from __future__ import annotations

import enum
import hashlib
import json
import zlib

MAGIC = 0x464C_4251
"""First beat of a program image and value of the ID register: ``b"QBLF"`` read as a little-endian word."""

ABI_VERSION = 2
"""Incremented whenever anything in this file changes its meaning."""

LINK_BITS = 32
"""Width of the AXI4-Stream payload (program, input, output), in bits."""


class Error(enum.IntEnum):
    """Error codes of the STATUS register. Anything but ``NONE`` halts the cores until a reset."""

    NONE = 0
    BAD_MAGIC = 1
    BAD_VERSION = 2
    WRONG_BUILD = 3
    BAD_SECTION = 4
    SHORT_PROGRAM = 5
    LONG_PROGRAM = 6
    BAD_CRC = 7
    NO_PROGRAM = 8
    SHORT_INPUT = 9
    LONG_INPUT = 10
    WATCHDOG = 11
    # of a job (JOB_STATUS), not of STATUS
    READ_SLAVE = 32
    READ_DECODE = 33
    WRITE_SLAVE = 34
    WRITE_DECODE = 35
    SHORT_OUTPUT = 36
    LONG_OUTPUT = 37
    ABORTED = 38
    BAD_JOB = 39
    BUS_TIMEOUT = 40
    CORE = 41

    @property
    def meaning(self) -> str:
        """One sentence for a person: what happened."""
        return _ERROR_MEANING[self]


_ERROR_MEANING = {
    Error.NONE: "no error",
    Error.BAD_MAGIC: "the program stream does not begin with the program magic",
    Error.BAD_VERSION: "the program image has another ABI version than the hardware",
    Error.WRONG_BUILD: "the program image was planned for another build of the hardware",
    Error.BAD_SECTION: "a program section names a memory or rows that this build does not have",
    Error.SHORT_PROGRAM: "the program frame ended before the image was complete",
    Error.LONG_PROGRAM: "the program frame went on after the image was complete",
    Error.BAD_CRC: "the checksum of the program image does not match its contents",
    Error.NO_PROGRAM: "an input frame arrived before any program was loaded",
    Error.SHORT_INPUT: "an input frame ended before the feature map was complete",
    Error.LONG_INPUT: "an input frame went on after the feature map was complete",
    Error.WATCHDOG: "work was under way but nothing moved for as long as the WATCHDOG register allows",
    Error.READ_SLAVE: "reading the job's source from memory ended in a slave error of the bus",
    Error.READ_DECODE: "reading the job's source from memory ended in a decode error: nothing is at that address",
    Error.WRITE_SLAVE: "writing the job's results to memory ended in a slave error of the bus",
    Error.WRITE_DECODE: "writing the job's results to memory ended in a decode error: nothing is at that address",
    Error.SHORT_OUTPUT: "the accelerator ended an output frame before the job's number of beats",
    Error.LONG_OUTPUT: "the accelerator went on with an output frame after the job's number of beats",
    Error.ABORTED: "the job was aborted",
    Error.BAD_JOB: "the job's registers contradict each other: misaligned address, no frames or no beats",
    Error.BUS_TIMEOUT: "the memory bus did not move for as long as the WATCHDOG register allows",
    Error.CORE: "the accelerator halted with an error of its own during the job; STATUS tells which",
}


def build_hash(design: dict) -> int:
    """Return the 64-bit hash that ties programs to hardware, of what hw.params.DesignParams.to_dict describes.

    It covers what makes an image loadable, and so not `trace`."""
    cores = [{name: value for name, value in core.items() if name != "trace"} for core in design["cores"]]
    text = json.dumps({**design, "cores": cores}, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


# --- registers ----------------------------------------------------------------------------------------------

REGISTERS: tuple[tuple[str, int, str, str], ...] = (
    # name, byte offset, access (ro, rw, wo), description
    ("ID", 0x00, "ro", "constant MAGIC"),
    ("ABI", 0x04, "ro", "constant ABI_VERSION"),
    ("BUILD_LO", 0x08, "ro", "build hash, low word"),
    ("BUILD_HI", 0x0C, "ro", "build hash, high word"),
    ("PROGRAM_LO", 0x10, "ro", "hash of the loaded program, low word; 0 when none is loaded"),
    ("PROGRAM_HI", 0x14, "ro", "hash of the loaded program, high word; 0 when none is loaded"),
    ("CAPS", 0x18, "ro", "what is around the accelerator; see CAPS_FIELDS"),
    ("SCRATCH", 0x1C, "rw", "no function; for testing the bus"),
    ("CONTROL", 0x20, "wo", "bit 0: reset everything but WATCHDOG and SCRATCH (the program has to be loaded again)"),
    ("STATUS", 0x24, "ro", "see STATUS_FIELDS"),
    ("WATCHDOG", 0x28, "rw", "clock cycles without progress, while work is under way, until error WATCHDOG; 0 = never"),
    ("ERROR_INFO", 0x2C, "ro", "beat index within the frame at which the error was found"),
    ("CORES", 0x30, "ro", "number of cores in the chain"),
    ("CORE_SELECT", 0x34, "rw", "core whose counters the COUNTER registers show"),
    ("IMAGES_IN", 0x38, "ro", "input frames accepted since reset, modulo 2**32"),
    ("IMAGES_OUT", 0x3C, "ro", "output frames completed since reset, modulo 2**32"),
    ("CLOCK_HZ", 0x40, "ro", "clock frequency in Hz where the shell makes the clock itself; 0 where the host sets it"),
)
"""Registers of the AXI4-Lite port. Reads elsewhere return 0, writes elsewhere are ignored, both with OKAY."""

STATUS_FIELDS = (("loaded", 1), ("busy", 1), ("loading", 1), ("reserved", 5), ("error", 8))
"""loaded: a valid program is in place; busy: an image is in the chain; loading: amid a program frame."""

FRONT_ENDS = ("streams", "dma", "uart")
"""Values of CAPS_FIELDS.front_end."""

CAPS_FIELDS = (("front_end", 4), ("baked", 1), ("reserved", 11), ("address_bits", 8), ("data_bits", 8))
"""front_end: how frames come and go, FRONT_ENDS; baked: a program is in place from power-up; address_bits, data_bits:
of the AXI master, with front_end dma."""

COUNTERS: tuple[tuple[str, str], ...] = (
    ("cycles", "clock cycles in which the core worked on an image"),
    ("adds", "weight rows accumulated (each is up to `lanes` additions in parallel)"),
    ("set_bits", "set bits of bit planes scanned, each counted once per lane group that uses it"),
    ("masks", "weight rows accumulated under a lane mask (diagonal sources, max pooling)"),
    ("doublings", "cycles spent doubling accumulators without adding a row"),
    ("starved", "cycles in which the accumulators waited for the scan"),
    ("neuron_stalls", "cycles in which a finished sum waited for the neuron unit"),
    ("turnaround", "cycles between layers: table fetch, pipeline fill and drain"),
    ("output_stalls", "cycles in which the core waited for its output to be taken"),
    ("input_stalls", "cycles without an addition in which rows of the input map were waited for"),
)
"""Per-core performance counters, 64 bits each, cleared by reset; for several clusters, summed over them.

`cycles` and `output_stalls` count core cycles, the others cluster cycles."""

COUNTER_BASE = 0x100
"""Byte offset of the first counter; counter i has its low word at COUNTER_BASE + 8*i, its high word 4 above.
Reading a low word latches the high word, so low then high is a consistent pair."""

JOB_REGISTERS: tuple[tuple[str, int, str, str], ...] = (
    ("JOB_CONTROL", 0x200, "wo", "bit 0: start; bit 1: abort (ends in idle, with error ABORTED if a job ran)"),
    ("JOB_STATUS", 0x204, "ro", "see JOB_STATUS_FIELDS"),
    ("JOB_KIND", 0x208, "rw", "0: frames are images; 1: one program frame"),
    ("JOB_TAG", 0x20C, "rw", "no function; a job's number, for whoever started it"),
    ("JOB_SOURCE_LO", 0x210, "rw", "address of the first frame, a multiple of 8; low word"),
    ("JOB_SOURCE_HI", 0x214, "rw", "high word"),
    ("JOB_TARGET_LO", 0x218, "rw", "address of the first result, a multiple of 8; low word (images only)"),
    ("JOB_TARGET_HI", 0x21C, "rw", "high word"),
    ("JOB_FRAMES", 0x220, "rw", "number of input frames, and of output frames; 1 for a program"),
    ("JOB_IN_BEATS", 0x224, "rw", "beats per input frame; frames lie one behind the other"),
    ("JOB_OUT_BEATS", 0x228, "rw", "beats per output frame (classes); frames lie one behind the other"),
    ("JOB_DONE", 0x22C, "ro", "output frames that are in memory, their write responses included"),
    ("JOB_CYCLES_LO", 0x230, "ro", "clock cycles from start to idle of the running or last job; latches the high word"),
    ("JOB_CYCLES_HI", 0x234, "ro", "high word"),
    ("JOB_READ_STALLS", 0x238, "ro", "of these, cycles in which a beat was wanted and memory gave none"),
    ("JOB_WRITE_STALLS", 0x23C, "ro", "of these, cycles in which a result waited for memory"),
    ("JOB_ERROR_LO", 0x240, "ro", "address of the burst in which the first bus error came; low word"),
    ("JOB_ERROR_HI", 0x244, "ro", "high word"),
)
"""Further registers of the front-end "dma": one job is a few register writes (hw/job.py, hw/job_registers.py).

Start. The parameters (all that is rw, JOB_TAG apart) are taken at the start; those of the next job may be written while
    one runs. A start while a job runs is ignored; with both bits of JOB_CONTROL only abort counts, and an abort without
    a job does nothing. JOB_TAG is not kept per job: write it when the one before has been looked at.
Refused. A start ends at once, without a transfer, in this order of precedence
    with BAD_JOB where KIND is neither 0 nor 1, IN_BEATS is 0, or SOURCE is no multiple of 8 or beyond the address bits
        of CAPS; for images also where FRAMES or OUT_BEATS is 0 or TARGET is misplaced; for a program where FRAMES is
        not 1
    with CORE where STATUS shows an error
    with ABORTED after any job that ended in an error once it ran, until CONTROL is reset: frames of it may be anywhere,
        and a result could be taken for another image's.
Errors. The first one counts; of several in one cycle abort and CONTROL's reset (both ABORTED) come before responses and
    addresses of the read, those of the write, BUS_TIMEOUT, and CORE. `error` shows at once, while `busy` stays until no
    burst is pending: buffers may not be used again before. Where the bus never answers that is until the logic is
    programmed again.
Time-out. BUS_TIMEOUT comes when for WATCHDOG cycles bursts of one direction were pending and none of its channels
    moved. It, ABORTED and CORE leave JOB_ERROR at 0.
Reset. CONTROL's reset changes no register of this table, ends a job that runs with ABORTED, and does not wait for its
    bursts: abort, and wait until `busy` falls, before. WATCHDOG and SCRATCH survive it.
Memory. Frames lie one behind the other without gaps, so that every second one of an odd number of beats begins amid a
    64-bit word; the last word of the source is read whole, so a buffer is a multiple of 8 bytes. Only the beats of
    results are written. An image's result is in memory when JOB_DONE counts it; a program's job ends a few cycles after
    its last beat, when the loader's verdict is in STATUS. Results while no job runs are thrown away.
"""

JOB_STATUS_FIELDS = (("busy", 1), ("done", 1), ("reserved", 6), ("error", 8))
"""busy: a job runs, or its last transfers are under way; done: the last job ended (cleared by start), and
nothing of it is under way; error: Error of the running or last job, NONE if it is right."""

JOB_BUFFER_ALIGN = 8
"""Addresses of a job are multiples of this."""

REGISTER_SPACE = 0x1000
"""Size of the AXI4-Lite address space in bytes."""


# --- program image ------------------------------------------------------------------------------------------
# beat 0      MAGIC
# beat 1      ABI_VERSION
# beat 2, 3   build hash (low, high)
# beat 4, 5   program hash (low, high)
# beat 6      number of sections
# then, per section: HEADER beats (target word, first row, number of rows), and the rows, row by row
# last beat   CRC-32 (zlib's, over all preceding beats as little-endian bytes)

PREAMBLE_BEATS = 7
SECTION_BEATS = 3

TARGET_FIELDS = (("memory", 8), ("cluster", 8), ("core", 8), ("reserved", 8))
"""First beat of a section header."""

ALL_CLUSTERS = 0xFF
"""Value of TARGET_FIELDS.cluster: write the rows to every cluster of the core."""


WEIGHT_READERS = 2
"""Clusters 2k and 2k + 1 of a core read one weight memory. A section for WEIGHTS of either of them fills it."""


class MemoryId(enum.IntEnum):
    """Memories that a program section can fill: CONFIG of a core, WEIGHTS of two clusters, the others of each."""

    CONFIG = 0
    LAYERS = 1
    SOURCES = 2
    CHANNELS = 3
    WEIGHTS = 4


class LayerKind(enum.IntEnum):
    """What the neuron unit does with a finished sum."""

    NEURON = 0
    MAX = 1
    READOUT = 2


class ResetStyle(enum.IntEnum):
    """How a spike acts on the membrane potential (docs/numerics.md)."""

    GATE_SUM = 0
    GATE_MEMBRANE = 1
    SUBTRACT = 2


CONFIG_FIELDS = (
    ("layers", 16),        # rows of the layer table in use (0 would be no program)
    ("input_words", 32),   # words of the input feature map of one image
    ("input_base", 24),    # word address of input buffer 0
    ("buffer_step", 24),   # distance of input buffer 1 from buffer 0, in words; 0: single-buffered
    ("input_row_words", 24),  # words of one row of the input feature map
)
"""The one row of the CONFIG memory of a core (section cluster = ALL_CLUSTERS)."""

LAYER_FIELDS = (
    ("kind", 2),             # LayerKind
    ("static", 1),           # 1: every source is constant in time; the sum is computed once for all steps
    ("to_stream", 1),        # 1: levels go to the next core instead of the core's own memory
    ("source_first", 16),    # index of the first row of the source table
    ("sources", 8),          # number of rows of the source table (MAX: one per tap of the window)
    ("planes", 6),           # scan steps q = planes-1 .. 0 (top of exponent + bits over the sources)
    ("steps", 8),            # T
    ("rows", 12),            # output rows this cluster computes; 0: it sits this layer out
    ("groups", 12),          # lane groups this cluster computes
    ("cols", 12),            # output columns this cluster computes
    ("group_weights", 24),   # weight rows from one lane group to the next
    ("group_bits", 16),      # bits from one lane group to the next in a diagonal source's plane row
    ("channel_first", 16),   # row of the channel table of the first lane group (rows hold neuron_lanes channels)
    ("group_channels", 16),  # channel rows from one lane group to the next
    ("out_base", 24),        # word address of output row 0, step 0, plane 0
    ("out_row_step", 24),    # words from one output row of this cluster to the next
    ("out_step_step", 24),   # words from one time step to the next
    ("out_plane_step", 16),  # words from one bit plane to the next
    ("out_planes", 4),       # bit planes written per position and step
    ("out_chunk", 16),       # chunk (of `lanes` bits) within the row of the first position and group
    ("out_group_step", 16),  # chunks from one lane group to the next
    ("out_col_step", 16),    # chunks from one output column of this cluster to the next
    ("style", 2),            # ResetStyle
    ("decay", 4),            # k of beta = 2**-k; ZERO_FACTOR: beta = 0
    ("reset", 4),            # r of the reset factor 2**-r; ZERO_FACTOR: the factor is 0
    ("rounds", 1),           # 1: h = 2**(f-1) is added before the shift (I-LIF)
    ("levels", 8),           # N (MAX: 2**planes - 1)
    ("classes", 16),         # READOUT: number of logits sent
    ("input_first", 16),     # parts of the input map that output row 0 of this cluster reads, from the map's first on
    ("input_step", 16),      # how many more each further output row reads
)
"""A row of the layer table. Every cluster has its own; clusters that sit a layer out come last.

A map is handed over in parts, in order: a row of the host's input is one part; of a map that clusters of a core write,
every output row of every cluster is one, in turns: row 0 of cluster 0, of cluster 1 ..., row 1 of cluster 0 ...
"""

WINDOW_FIELDS = (
    ("window_rows", 5),      # map rows that the windows of an output row span: the last ones of its parts
    ("window_bits", 7),      # bits of a plane row that a window spans; 0: the layer does not ask
    ("window_first", 7),     # last bit of the window of output column 0
    ("window_step", 7),      # bits to the window of the next output column
)
"""Behind LAYER_FIELDS in builds with `occupancy`: where a sum reads, so that it is not read where nothing is.

All sources of the layer read the input map, which has one word per plane row, within the window of each sum."""

ZERO_FACTOR = 15
"""Exponent that stands for a factor of zero in LAYER_FIELDS.decay and .reset."""

SOURCE_FIELDS = (
    ("diagonal", 1),         # 1: the chunk of the plane row, bits outside the limits apart, masks one weight row
    ("input", 1),            # 1: reads the core's (double-buffered) input map
    ("exponent", 5),         # e: the weights count 2**e
    ("planes", 4),           # bit planes of the map read, B
    ("row_init", 24),        # word address of row y_init, step 0, plane 0 (modulo 2**24)
    ("row_step", 24),        # words to the field of the next output row (modulo 2**24)
    ("y_init", 13, "signed"),  # first map row of the field of output row 0
    ("y_step", 13),          # map rows to the field of the next output row
    ("x_init", 20, "signed"),  # first bit of the field of output column 0 within its plane row
    ("x_step", 20),          # bits to the field of the next output column
    ("step_step", 24),       # words from one time step to the next (0: constant in time)
    ("plane_step", 16),      # words from one bit plane to the next
    ("plane_top", 24),       # words from plane 0 to plane B-1
    ("tap_rows", 8),         # rows of the field
    ("tap_dy", 8),           # map rows between them
    ("tap_row_step", 24),    # words between them
    ("tap_row_weights", 16), # weight rows between them
    ("tap_cols", 8),         # runs per row of the field
    ("tap_col_step", 16),    # bits between runs
    ("tap_col_weights", 16), # weight rows between runs
    ("run_bits", 16),        # bits of a run
    ("y_limit", 12),         # map rows in [0, y_limit) exist
    ("x_limit", 20),         # bits of a plane row in [0, x_limit) exist
    ("weight_first", 24),    # weight row of the field's first bit, lane group 0
)
"""A row of the source table. Sources of a layer stand in a row; the last one has exponent 0."""

CHANNEL_FIELDS = (("bias", 24, "signed"), ("shift", 5), ("reserved", 3))
"""Neuron constants of one output channel; a row of the CHANNELS memory holds `neuron_lanes` of them."""


def field_bits(fields) -> int:
    """Return the bits that the fields of a row take, without padding."""
    return sum(field[1] for field in fields)


def row_beats(bits: int) -> int:
    """Return the number of 32-bit beats that a row of `bits` bits takes in a program section."""
    return -(-bits // LINK_BITS)


def pack(fields, values: dict[str, int]) -> int:
    """Pack a row's field values into one integer.

    Raises ValueError, naming the field, when a value is missing, unknown or does not fit."""
    unknown = set(values) - {field[0] for field in fields}
    if unknown:
        raise ValueError(f"unknown field(s) {sorted(unknown)}")
    word, at = 0, 0
    for name, bits, *signed in fields:
        value = int(values[name]) if name != "reserved" else 0
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if not low <= value <= high:
            raise ValueError(f"field {name!r} is {value}, allowed is {low} to {high}")
        word |= (value & (1 << bits) - 1) << at
        at += bits
    return word


def unpack(fields, word: int) -> dict[str, int]:
    """Inverse of `pack`."""
    values = {}
    for name, bits, *signed in fields:
        value = word & (1 << bits) - 1
        values[name] = value - (1 << bits) if signed and value >> bits - 1 else value
        word >>= bits
    return values


def beats(word: int, count: int) -> list[int]:
    """Split an integer into `count` 32-bit beats, lowest first."""
    return [word >> LINK_BITS * i & 0xFFFF_FFFF for i in range(count)]


def crc(data: bytes) -> int:
    """Return the checksum that ends a program image: CRC-32 as in zlib."""
    return zlib.crc32(data)
