"""The table shows a person what a network is."""

from qblif.gen.sizes import macs, parameters
from qblif.gen.table import table
from qblif.sim.random_networks import random_network


def test_the_table_has_a_line_for_every_source_and_the_totals():
    for seed in range(10):
        network = random_network(seed)
        text = table(network)
        assert text.startswith(f"network '{network.name}': T = {network.steps}")
        for layer in network.layers:
            assert layer.name in text
        assert f"{sum(map(parameters, network.layers)):,} parameters" in text
        assert f"{sum(macs(network, layer) for layer in network.layers):,} dense MACs" in text
        assert max(map(len, text.splitlines())) <= 250
