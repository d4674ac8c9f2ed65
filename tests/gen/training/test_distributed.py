"""Two processes see the samples that one sees, in its order, and average their gradients."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from qblif.gen.training.distributed import ALONE, Team

WORK = """
import sys
import torch
from safetensors.torch import save_file
from qblif.gen.training import Phase, Recipe, Samples, distributed

class Seen(Samples):
    def batch(self, index, generator=None):
        order.append(index)
        return super().batch(index)

order = []
torch.set_num_threads(1)
torch.manual_seed(0 if "RANK" not in __import__("os").environ else int(__import__("os").environ["RANK"]) + 5)
x = torch.randint(0, 9, (53, 6), generator=torch.Generator().manual_seed(1))
data = Seen(x, (x[:, 0] > 4).long())
with distributed.team("cpu") as team:
    module = torch.nn.Linear(6, 2)
    if team.size == 1:
        torch.manual_seed(5)      # the parameters that all start with are those of the first process
        module = torch.nn.Linear(6, 2)
    loop = Phase(module, data, Recipe(batch=8, optimiser="sgd", clip=0.5), 3, 0.1, team=team)
    losses = [loop.epoch().loss for _ in range(3)]
    save_file({"weight": module.weight.detach(), "bias": module.bias.detach(), "losses": torch.tensor(losses),
               "order": torch.cat(order), "step": torch.tensor(loop.step)}, f"{sys.argv[1]}/{team.rank}of{team.size}")
"""


def environment(**more):
    plain = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return plain | {"OMP_NUM_THREADS": "1"} | more


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def test_two_processes_train_as_one(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    started = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)]
    started += [subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port))
        for rank in range(2)]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    alone, first, second = (load_file(tmp_path / name) for name in ("0of1", "0of2", "1of2"))
    assert all(torch.equal(first[name], second[name]) for name in ("weight", "bias", "losses"))
    assert torch.allclose(first["weight"], alone["weight"], atol=1e-6)
    assert torch.allclose(first["losses"], alone["losses"], atol=1e-6)
    # the same order: batch for batch the two have together what the one has
    batches = [part.split(8) for part in alone["order"].split(53)]
    at = [0, 0]
    for batch in (batch for epoch in batches for batch in epoch):
        both = []
        for rank, mine in enumerate((first["order"], second["order"])):
            share = len(batch[rank::2])
            both.append(mine[at[rank]:at[rank] + share])
            at[rank] += share
        assert torch.equal(both[0], batch[0::2]) and torch.equal(both[1], batch[1::2])
    assert at == [len(first["order"]), len(second["order"])]


def test_one_process_alone_takes_everything():
    index = torch.arange(5)
    assert torch.equal(ALONE.share(index), index) and ALONE.total(1.0, 2.0) == [1.0, 2.0] and ALONE.first
    assert Team(1, 3).share(index).tolist() == [1, 4] and not Team(1, 3).first


@pytest.mark.long
def test_torchrun_trains_a_recipe_and_goes_on(tmp_path):
    from .helpers import TINY

    lines = []
    for table, keys in TINY.items():
        if isinstance(keys, dict):
            lines += [f"[{table}]", *(f"{k} = {v!r}".replace("'", '"') for k, v in keys.items())]
    (tmp_path / "tiny.toml").write_text("\n".join([*lines, "[[augment]]", 'name = "crop"', "padding = 1"]))

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port(), "-m",
             "qblif", "train", "tiny.toml", "--limit", "60", "--out", "run", *words], cwd=tmp_path,
            env=environment(), capture_output=True, text=True, timeout=500)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in done.stdout and "All 60 predictions" in done.stdout
    assert "All 60 predictions" in run("--resume").stdout
