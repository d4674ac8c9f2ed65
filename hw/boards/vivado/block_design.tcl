# Block design of processing system and accelerator, from sources to bitstream, without a window:
#   vivado -mode batch -notrace -source build.tcl
# Leaves result/qblif.bit and result/vivado.hwh; fails where the clock is not met.

source [file join [file dirname [file normalize [info script]]] common.tcl]

# What the two families call the same things.
if {$family eq "zynq"} {
  set ip processing_system7
  set control_port M_AXI_GP0
  set control_clock M_AXI_GP0_ACLK
  set memory_port S_AXI_HP0
  set memory_clock S_AXI_HP0_ACLK
  set clock FCLK_CLK0
  set reset FCLK_RESET0_N
  set memories {S_AXI_HP0/HP0_DDR_LOWOCM}
} else {
  set ip zynq_ultra_ps_e
  set control_port M_AXI_HPM0_FPD
  set control_clock maxihpm0_fpd_aclk
  set memory_port S_AXI_HP0_FPD
  set memory_clock saxihp0_fpd_aclk
  set clock pl_clk0
  set reset pl_resetn0
  set memories {SAXIGP2/HP0_DDR_LOW SAXIGP2/HP0_DDR_HIGH}
}

say "project for $board ($part), $clock_mhz MHz"
set work [file join $here vivado]
create_project -force qblif $work -part $part
set_property target_language Verilog [current_project]
add_files -norecurse $sources
update_compile_order -fileset sources_1

# Only what the programmable logic sees is set: clocks and ports. Memory, pins and PLLs are the boot
# loader's, and nothing of them is in a bitstream.
create_bd_design qblif_system
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:$ip ps]
set_property -dict $ps_config $ps
if {$family eq "zynq"} {
  set automation {
    make_external "FIXED_IO, DDR" apply_board_preset "0" Master "Disable" Slave "Disable"
  }
  apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config $automation $ps
}

create_bd_cell -type module -reference qblif_block $instance
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
foreach cell {control memory} {
  set connect [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $cell]
  set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} $connect
}

foreach {one other} [list \
  ps/$control_port   control/S00_AXI \
  control/M00_AXI    $instance/s_axi \
  $instance/m_axi    memory/S00_AXI \
  memory/M00_AXI     ps/$memory_port \
] {
  connect_bd_intf_net [get_bd_intf_pins $one] [get_bd_intf_pins $other]
}
foreach pin [list ps/$control_clock ps/$memory_clock control/aclk memory/aclk $instance/aclk \
  reset/slowest_sync_clk] {
  connect_bd_net [get_bd_pins ps/$clock] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins ps/$reset] [get_bd_pins reset/ext_reset_in]
foreach pin [list control/aresetn memory/aresetn $instance/aresetn] {
  connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}
# A referenced module's ports count as 100 MHz until told otherwise, and validation compares.
set hertz [get_property CONFIG.FREQ_HZ [get_bd_pins ps/$clock]]
# On the board the host sets the clock asked for: timing must not be checked against a slower one.
if {$hertz < 0.999e6 * $clock_mhz} {
  error "qblif: Vivado counts on [expr {$hertz / 1e6}] MHz, $clock_mhz MHz is asked for"
}
foreach port {s_axi m_axi} {
  set_property CONFIG.FREQ_HZ $hertz [get_bd_intf_pins $instance/$port]
}

assign_bd_address -force -offset $base_address -range $address_range \
  -target_address_space [get_bd_addr_spaces ps/Data] [get_bd_addr_segs $instance/s_axi/reg0]
foreach memory $memories {
  set segment [get_bd_addr_segs -quiet ps/$memory]
  if {[llength $segment] == 0} {
    say "the processing system has no $memory: that memory is out of reach"
    continue
  }
  assign_bd_address -force -target_address_space [get_bd_addr_spaces $instance/m_axi] $segment
}
validate_bd_design
save_bd_design

# Global synthesis: one run, nothing of it out of context.
set design [get_files qblif_system.bd]
set_property synth_checkpoint_mode None $design
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top qblif_system_wrapper [current_fileset]
update_compile_order -fileset sources_1

foreach {run step} {synth_1 synth_design impl_1 write_bitstream} {
  say "$run to $step"
  if {$run eq "synth_1"} {
    launch_runs synth_1 -jobs $jobs
  } else {
    launch_runs impl_1 -to_step write_bitstream -jobs $jobs
  }
  wait_on_run -timeout $timeout_minutes [get_runs $run]
  set progress [get_property PROGRESS [get_runs $run]]
  if {$progress ne "100%"} {
    set status [get_property STATUS [get_runs $run]]
    error "qblif: $run ended at $progress ($status); see $work/qblif.runs/$run/runme.log"
  }
}
open_run impl_1
check_timing

set bit [file join $work qblif.runs impl_1 qblif_system_wrapper.bit]
file copy -force $bit [file join $result qblif.bit]
# In .gen since Vivado 2020.2, in .srcs before.
set found ""
foreach folder {gen srcs} {
  set handoff [file join $work qblif.$folder sources_1 bd qblif_system hw_handoff qblif_system.hwh]
  if {[file exists $handoff]} {
    set found $handoff
    break
  }
}
if {$found eq ""} {
  error "qblif: Vivado left no qblif_system.hwh below $work"
}
file copy -force $found [file join $result vivado.hwh]
say "done: [file join $result qblif.bit]"
