# Processing system as a primitive, no IP and no project; from sources to bitstream:
#   vivado -mode batch -notrace -source build.tcl
# Leaves result/qblif.bit; fails where the clock is not met.

source [file join [file dirname [file normalize [info script]]] common.tcl]

say "synthesis for $board ($part), $clock_mhz MHz"
create_project -in_memory -part $part
read_verilog $sources
read_xdc [file join $here qblif.xdc]
synth_design -top qblif_ps7 -part $part

set found [llength [get_cells -hierarchical -filter {REF_NAME == PS7}]]
if {$found != 1} {
  error "qblif: the netlist has $found processing systems, one is expected"
}
say "placement"
opt_design
place_design
phys_opt_design
say "routing"
route_design
check_timing
say "bitstream"
write_bitstream -force [file join $result qblif.bit]
say "done: [file join $result qblif.bit]"
