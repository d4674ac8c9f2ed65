#!/bin/sh
# From Verilog to bitstream with open tools: Yosys, nextpnr and prjxray, as openXC7 packages them.
#   sh build.sh
# Leaves result/qblif.bit; nextpnr fails where the clock is not met.
#   PRJXRAY_DB_DIR  folder of prjxray-db (holds zynq7/)
#   CHIPDB          nextpnr's chip database: the file, or its folder, or unset where nextpnr-himbaechel finds its own
set -eu
cd "$(dirname "$0")"
. ./settings.sh

say() { printf 'qblif: %s\n' "$*"; }
fail() { printf 'qblif: %s\n' "$*" >&2; exit 1; }

: "${PRJXRAY_DB_DIR:=/snap/openxc7/current/opt/nextpnr-xilinx/external/prjxray-db}"
family=$PRJXRAY_DB_DIR/zynq7
[ -f "$family/$PART/part.yaml" ] || fail "PRJXRAY_DB_DIR is $PRJXRAY_DB_DIR, which has no zynq7/$PART/part.yaml"
database=${CHIPDB:-}
if [ -d "$database" ]; then database=$database/$DEVICE.bin; fi
[ -z "$database" ] || [ -f "$database" ] || fail "CHIPDB leads to $database, which is no file"
mkdir -p result

say "synthesis for $BOARD ($PART)"
yosys -l result/yosys.log -q -p "read_verilog $SOURCES; synth_xilinx -flatten -abc9 -arch xc7 -top $TOP; \
tee -o result/utilization.rpt stat; write_json result/qblif.json"

say "placement and routing at $CLOCK_MHZ MHz"
if command -v nextpnr-xilinx >/dev/null; then
  [ -n "$database" ] || fail "CHIPDB is not set; nextpnr-xilinx needs its $DEVICE.bin"
  nextpnr-xilinx --chipdb "$database" --freq "$CLOCK_MHZ" --seed 1 --json result/qblif.json \
    --fasm result/qblif.fasm --log result/nextpnr.log
else
  nextpnr-himbaechel --device "$PART" ${database:+--chipdb "$database"} --freq "$CLOCK_MHZ" --seed 1 \
    --json result/qblif.json -o fasm=result/qblif.fasm --log result/nextpnr.log
fi

say "bitstream"
fasm2frames --part "$PART" --db-root "$family" result/qblif.fasm > result/qblif.frames
xc7frames2bit --part_file "$family/$PART/part.yaml" --part_name "$PART" --frm_file result/qblif.frames \
  --output_file result/qblif.bit
say "done: result/qblif.bit"
