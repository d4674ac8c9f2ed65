"""N-MNIST, CIFAR10-DVS and DVS128-Gesture, on small files in every form in which people have them."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from qblif.gen import data
from qblif.gen.data import DataError, aedat, nmnist, recordings
from qblif.gen.data.cifar10_dvs import read_mat
from qblif.gen.data.events import Binning, Events

from . import formats

pytestmark = pytest.mark.usefixtures("own_cache")

RANDOM = np.random.default_rng(3)


def made_up(n, size, last=300_000):
    """Return the columns x, y, p and t of n events, t in order."""
    return (RANDOM.integers(0, size, n).tolist(), RANDOM.integers(0, size, n).tolist(),
            RANDOM.integers(0, 2, n).tolist(), np.sort(RANDOM.integers(0, last, n)).tolist())


def counts(columns, size, **options):
    return Binning(**options).counts(Events(*map(np.array, columns)), (size, size)).counts


def same(events, columns):
    return all(np.array_equal(a, b) for a, b in zip(events, columns, strict=True))


# --- N-MNIST -----------------------------------------------------------------------------------------------------


def test_nmnist_folders_come_back_as_counts(tmp_path):
    columns = {}
    for part, label, name in (("Train", 7, "00002"), ("Train", 0, "00001"), ("Test", 9, "00003")):
        folder = tmp_path / "N-MNIST" / part / str(label)
        folder.mkdir(parents=True)
        columns[part, label] = made_up(50, 34)
        formats.nmnist(folder / f"{name}.bin", *columns[part, label])
    ds = data.load("n-mnist", root=tmp_path, steps=3, bits=2)
    assert ds.train.labels.tolist() == [0, 7] and ds.test.labels.tolist() == [9]
    assert ds.train.x.shape == (3, 2, 2, 34, 34) and (ds.steps, ds.bits, ds.shape) == (3, 2, (2, 34, 34))
    for i, label in enumerate((0, 7)):
        assert np.array_equal(ds.train.x[:, i], counts(columns["Train", label], 34, steps=3, bits=2))
    assert ds.events == 150 == int(ds.train.x.sum() + ds.test.x.sum()) + ds.clipped + ds.dropped
    x, y = ds.train.batch(ds.train.labels.argsort(descending=True))
    assert np.array_equal(x[:, 0], ds.train.x[:, 1]) and y.tolist() == [7, 0]
    assert ds.to_data().axis == 1


def test_nmnist_times_go_on_behind_an_overflow(tmp_path):
    formats.nmnist(tmp_path / "a.bin", [1, 0, 2, 0, 3], [5, 240, 6, 240, 7], [1, 0, 0, 0, 1], [10, 11, 12, 13, 14])
    assert same(nmnist.read_bin(tmp_path / "a.bin"), ([1, 2, 3], [5, 6, 7], [1, 0, 1], [10, 8204, 16398]))
    (tmp_path / "a.bin").write_bytes(b"1234567")
    with pytest.raises(DataError, match="has 7 bytes, needed are records of 5"):
        nmnist.read_bin(tmp_path / "a.bin")


def test_an_nmnist_archive_comes_back_and_damaged_ones_are_refused(tmp_path):
    rows = [made_up(n, 34, 5000) for n in (4, 0, 6)]
    x, y, p, t = (np.array(sum((row[k] for row in rows), []), np.uint32) for k in range(4))
    dt = np.concatenate([np.diff(row[3], prepend=0) for row in rows])
    arrays = {"x": np.uint8(x), "y": np.uint8(y), "p": np.packbits(np.uint8(p)), "dt": np.uint16(dt),
              "off": np.int64([0, 4, 4, 10]), "label": np.uint8([3, 8, 1]), "is_test": np.array([False, True, False])}
    path = tmp_path / "nmnist_small.npz"
    np.savez(path, **arrays)
    ds = data.load("n-mnist", root=tmp_path, steps=2)
    assert ds.train.labels.tolist() == [3, 1] and ds.test.labels.tolist() == [8]
    assert np.array_equal(ds.train.x[:, 1], counts(rows[2], 34, steps=2, bits=4)) and int(ds.test.x.sum()) == 0
    for change in ({"off": np.int64([0, 4, 3, 10])}, {"off": np.int64([0, 4, 4, 11])}, {"dt": np.uint16(dt[1:])}):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(DataError, match="nmnist_small.npz is inconsistent"):
            data.load("n-mnist", root=tmp_path, steps=2)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="nmnist_small.npz is not read"):
        data.load("n-mnist", root=tmp_path, steps=2)


# --- recordings --------------------------------------------------------------------------------------------------


def test_aedat_of_version_2_comes_back_without_outside_signals(tmp_path):
    columns = made_up(40, 128)
    formats.aedat2(tmp_path / "a.aedat", *columns, special=[0x8000])
    assert same(aedat.read_dvs128(tmp_path / "a.aedat"), columns)


def test_aedat_of_version_3_comes_back_with_valid_pixel_events_alone(tmp_path):
    rows = [(1, 3, 4, 1, 10), (0, 9, 9, 1, 11), (1, 127, 0, 0, 12)]
    formats.aedat3(tmp_path / "a.aedat", [(1, 0, rows), (0, 0, [(1, 0, 0, 0, 5)]), (1, 1, [(1, 0, 127, 1, 3)])])
    assert same(aedat.read_aedat3(tmp_path / "a.aedat"), ([3, 127, 0], [4, 0, 127], [1, 0, 1], [10, 12, 2 ** 31 + 3]))


def test_aedat4_of_the_cameras_own_software_comes_back():
    """small.aedat4 was written by MonoCameraWriter of iniVation's dv-processing 2.0.4: 250 events in two packets."""
    i = np.arange(250)
    events = aedat.read_aedat4(Path(__file__).parent / "small.aedat4")
    assert same(events, (i * 37 % 128, (i * 53 + 7) % 128, i % 3 == 0, 1_000_000 + 500 * i))


@pytest.mark.parametrize(("read", "name", "cut", "message"), [
    (aedat.read_dvs128, "2", -3, "needed are records of 8"), (aedat.read_dvs128, "2", 5, "begins with b'#!AER'"),
    (aedat.read_dvs128, "3", None, "needed is a recording of version 2"),
    (aedat.read_aedat3, "3", -3, "announces a packet of 8 bytes with 1 events, and 5 are left"),
    (aedat.read_aedat3, "3", -20, "ends inside the header of a packet"),
    (aedat.read_aedat3, "3", 40, "has no end of its header"),
    (aedat.read_aedat3, "2", None, "needed is a recording of version 3.1"),
    (aedat.read_aedat4, "4", 900, "is not read as .aedat4"), (aedat.read_aedat4, "2", None, "is not read as .aedat4")])
def test_damaged_recordings_are_refused(tmp_path, read, name, cut, message):
    formats.aedat2(tmp_path / "2", *made_up(3, 128))
    formats.aedat3(tmp_path / "3", [(1, 0, [(1, 3, 4, 1, 10)])])
    (tmp_path / "4").write_bytes((Path(__file__).parent / "small.aedat4").read_bytes())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=message):
        read(path)


# --- CIFAR10-DVS -------------------------------------------------------------------------------------------------


def dat2mat(path, columns, unused):
    x, y, p, t = map(np.array, columns)
    out = np.column_stack([t, *[-np.ones(len(t))] * unused, x, y, 2 * p - 1])
    savemat(path, {"out1": out})


@pytest.mark.parametrize(("suffix", "write"), [
    (".aedat", lambda path, columns: formats.aedat2(path, *columns)),
    (".mat", lambda path, columns: dat2mat(path, columns, 0)),
    (".mat", lambda path, columns: dat2mat(path, columns, 2))], ids=["aedat", "mat of 4", "mat of 6"])
def test_cifar10_dvs_is_split_by_number(tmp_path, suffix, write):
    columns = {}
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in (0, 2, 10):
            columns[label, number] = made_up(30, 128)
            write(tmp_path / name / f"cifar10_{name}_{number}{suffix}", columns[label, number])
    ds = data.load("cifar10-dvs", root=tmp_path, steps=2, pool=4)
    assert ds.train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert ds.test.labels.tolist() == list(range(10)) and ds.shape == (2, 32, 32)
    for i, (label, number) in enumerate((label, number) for label in range(10) for number in (0, 2)):
        assert np.array_equal(ds.train.x[:, i], counts(columns[label, number], 128, steps=2, bits=4, pool=4))
    assert np.array_equal(ds.test.x[:, 3], counts(columns[3, 10], 128, steps=2, bits=4, pool=4))


CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_cifar10_dvs_is_read_from_aedat4(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in (0, 1):
            (tmp_path / name / f"{number}.aedat4").write_bytes((Path(__file__).parent / "small.aedat4").read_bytes())
    ds = data.load("cifar10-dvs", root=tmp_path, steps=2, by="count")
    assert ds.events == 20 * 250 and ds.train.x.sum((1, 2, 3, 4)).tolist() == [1250, 1250]


@pytest.mark.parametrize(("contents", "message"), [({"out1": np.zeros((3, 5))}, "out1 of 3 x 5, needed are 4 or 6"),
                                                   ({"other": np.zeros((3, 4))}, "Needed is a matrix out1")])
def test_mat_files_with_other_contents_are_refused(tmp_path, contents, message):
    savemat(tmp_path / "a.mat", contents)
    with pytest.raises(DataError, match=message):
        read_mat(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes(b"hello")
    with pytest.raises(DataError, match="is not read"):
        read_mat(tmp_path / "a.mat")


# --- DVS128-Gesture ----------------------------------------------------------------------------------------------


def gesture_recordings(folder):
    """Write two recordings of two gestures, as published; return the columns of each gesture."""
    columns = {}
    for part, user in (("train", "user01_led"), ("test", "user24_led")):
        (folder / f"trials_to_{part}.txt").write_text(f"{user}.aedat\n")
        x, y, p, t = made_up(90, 128, 900)
        (folder / f"{user}_labels.csv").write_text("class,startTime_usec,endTime_usec\n2,100,400\n11,500,800\n")
        formats.aedat3(folder / f"{user}.aedat", [(1, 0, [(1, *row) for row in zip(x, y, p, t, strict=True)])])
        for label, first, end in ((1, 100, 400), (10, 500, 800)):
            rows = [row for row in zip(x, y, p, t, strict=True) if first <= row[3] < end]
            columns[part, label] = tuple(zip(*rows, strict=True))
    return columns


def test_gestures_are_cut_from_the_published_recordings(tmp_path):
    columns = gesture_recordings(tmp_path)
    ds = data.load("dvs128-gesture", root=tmp_path, steps=4)
    assert ds.train.labels.tolist() == ds.test.labels.tolist() == [1, 10] and len(ds.classes) == 11
    for split, part in ((ds.train, "train"), (ds.test, "test")):
        for i, label in enumerate((1, 10)):
            assert np.array_equal(split.x[:, i], counts(columns[part, label], 128, steps=4, bits=6))
    (tmp_path / "user01_led_labels.csv").write_text("class,start\n1,2\n")
    with pytest.raises(DataError, match="user01_led_labels.csv is not read"):
        data.load("dvs128-gesture", root=tmp_path, steps=4)
    (tmp_path / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n")
    with pytest.raises(DataError, match="lists no gestures"):
        data.load("dvs128-gesture", root=tmp_path, steps=4)


@pytest.mark.parametrize("form", ["npy by user", "npz by class"])
def test_gestures_are_read_from_a_file_each(tmp_path, form):
    columns = {("Train", 3): made_up(40, 128, 900), ("Test", 10): made_up(40, 128, 900)}
    for (part, label), (x, y, p, t) in columns.items():
        if form == "npy by user":
            folder = tmp_path / f"ibmGesture{part}" / "user01_led"
            folder.mkdir(parents=True)
            np.save(folder / f"{label}.npy", np.column_stack([x, y, p, t]).astype(float))
        else:
            folder = tmp_path / "events_np" / part.lower() / str(label)
            folder.mkdir(parents=True)
            np.savez(folder / "user01_led_0.npz", x=x, y=y, p=p, t=t)
    ds = data.load("dvs128-gesture", root=tmp_path, steps=2)
    assert ds.train.labels.tolist() == [3] and ds.test.labels.tolist() == [10]
    assert np.array_equal(ds.train.x[:, 0], counts(columns["Train", 3], 128, steps=2, bits=6)) or form == "npy by user"
    scaled = (*columns["Train", 3][:3], [t * 1000 for t in columns["Train", 3][3]])
    if form == "npy by user":     # milliseconds
        assert np.array_equal(ds.train.x[:, 0], counts(scaled, 128, steps=2, bits=6))


# --- recordings of one's own -------------------------------------------------------------------------------------


def structured(columns):
    """Return events as Tonic's readers do."""
    out = np.zeros(len(columns[0]), [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])
    for name, column in zip("xypt", columns, strict=True):
        out[name] = column
    return out


def test_sequences_of_events_and_labels_become_a_set():
    columns = [made_up(30, 8), made_up(5, 8), made_up(0, 8)]
    train, test = [(structured(columns[0]), 1), (structured(columns[1]), np.int64(0))], [(structured(columns[2]), 1)]
    ds = data.from_events("mine", train, test, ("left", "right"), (8, 8), steps=3, bits=1)
    assert ds.train.labels.tolist() == [1, 0] and ds.events == 35 and ds.shape == (2, 8, 8)
    assert np.array_equal(ds.train.x[:, 0], counts(columns[0], 8, steps=3, bits=1))
    assert int(ds.train.x.sum()) + ds.clipped == 35 and int(ds.test.x.sum()) == 0
    with pytest.raises(DataError, match="mine: there are no test samples"):
        data.from_events("mine", train, [], ("left", "right"), (8, 8), steps=3)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_counts_are_kept_until_options_or_files_change(tmp_path, own_cache, monkeypatch):
    for part in ("Train", "Test"):
        (tmp_path / part / "1").mkdir(parents=True)
        formats.nmnist(tmp_path / part / "1" / "1.bin", *made_up(20, 34))
    times = []
    binned = recordings.bin_all
    monkeypatch.setattr(recordings, "bin_all", lambda *args: times.append(1) or binned(*args))
    first = data.load("n-mnist", root=tmp_path, steps=2)
    again = data.load("n-mnist", root=tmp_path, steps=2)
    assert len(times) == 2 and np.array_equal(first.train.x, again.train.x) and str(first) == str(again)
    again.train.x.zero_()      # the file is not written through
    assert np.array_equal(first.train.x, data.load("n-mnist", root=tmp_path, steps=2).train.x)
    data.load("n-mnist", root=tmp_path, steps=3)
    assert len(times) == 4
    formats.nmnist(tmp_path / "Test" / "1" / "1.bin", *made_up(21, 34))
    assert data.load("n-mnist", root=tmp_path, steps=2).events == 41 and len(times) == 6


def test_nothing_unfinished_is_kept_and_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    for part in ("Train", "Test"):
        (tmp_path / part / "1").mkdir(parents=True)
        formats.nmnist(tmp_path / part / "1" / "1.bin", [33], [33], [1], [0])
    formats.nmnist(tmp_path / "Test" / "1" / "2.bin", [34], [0], [1], [0])
    cache = tmp_path / "cache" / "data"
    with pytest.raises(DataError, match="1 of 1 events are not of this sensor"):
        data.load("n-mnist", root=tmp_path)
    assert list(cache.iterdir()) == []
    (tmp_path / "Test" / "1" / "2.bin").unlink()
    (tmp_path / "file").touch()
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "file"))
    assert data.load("n-mnist", root=tmp_path).events == 2
