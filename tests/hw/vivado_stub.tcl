# A stand-in for Vivado under plain tclsh: runs a build script and complains of what Vivado would complain of.
#   tclsh vivado_stub.tcl SPEC OPTION=VALUE... -- [Vivado's own arguments] -source SCRIPT
# SPEC: Tcl file that sets ::commands (command -> switches, fewest and most other arguments) and ::config_names (IP ->
# names of its settings). Options: log, bit, hwh (files), wns, whs, progress, hertz, ps7 (what is answered).
# Errors: unknown commands, switches and settings; cells, pins, nets, segments and files that do not exist; a pin driven
# twice or not at all; ports that a setting has not opened; steps out of order.

array set option {log "" bit "" hwh "" wns 0.125 whs 0.031 progress 100% hertz "" ps7 1}
set arguments [lrange $argv 1 end]
source [lindex $argv 0]
while {[lindex $arguments 0] ne "--"} {
  regexp {^(\w+)=(.*)$} [lindex $arguments 0] -> name value
  set option($name) $value
  set arguments [lrange $arguments 1 end]
}
set script [lindex $arguments [expr {[lsearch -exact $arguments -source] + 1}]]

# State of the pretended design.
set ::cells [dict create]       ;# cell -> kind
set ::settings [dict create]    ;# cell -> settings
set ::driven [dict create]      ;# pin or interface -> what it is connected to
set ::assigned {}               ;# address space and segment, pairs
set ::external 0
set ::modules [dict create]     ;# Verilog module -> text of its file
set ::steps {}
set ::project ""

proc step {name args} {
  foreach before $args {
    if {$before ni $::steps} { error "$name before $before" }
  }
  lappend ::steps $name
}

proc setting {cell name default} {
  if {[dict exists $::settings $cell $name]} { return [dict get $::settings $cell $name] }
  return $default
}

# Interfaces of a cell: name -> master or slave; pins: name -> in or out. Ports that settings open are there only then.
proc interfaces {cell} {
  switch [dict get $::cells $cell] {
    processing_system7 {
      set found {}
      if {[setting $cell CONFIG.PCW_USE_M_AXI_GP0 1]} { lappend found M_AXI_GP0 master }
      if {[setting $cell CONFIG.PCW_USE_S_AXI_HP0 0]} { lappend found S_AXI_HP0 slave }
      return $found
    }
    zynq_ultra_ps_e {
      set found {}
      if {[setting $cell CONFIG.PSU__USE__M_AXI_GP0 1]} { lappend found M_AXI_HPM0_FPD master }
      if {[setting $cell CONFIG.PSU__USE__M_AXI_GP1 1]} { lappend found M_AXI_HPM1_FPD master }
      if {[setting $cell CONFIG.PSU__USE__M_AXI_GP2 0]} { lappend found M_AXI_HPM0_LPD master }
      if {[setting $cell CONFIG.PSU__USE__S_AXI_GP2 0]} { lappend found S_AXI_HP0_FPD slave }
      return $found
    }
    smartconnect {
      set found {}
      for {set i 0} {$i < [setting $cell CONFIG.NUM_SI 2]} {incr i} { lappend found [format S%02d_AXI $i] slave }
      for {set i 0} {$i < [setting $cell CONFIG.NUM_MI 1]} {incr i} { lappend found [format M%02d_AXI $i] master }
      return $found
    }
    qblif_block {
      set found {}
      foreach bus {s_axi m_axi} kind {slave master} {
        if {[regexp "aximm:1.0 $bus AWADDR" [dict get $::modules qblif_block]]} { lappend found $bus $kind }
      }
      return $found
    }
    default { return {} }
  }
}

proc pins {cell} {
  switch [dict get $::cells $cell] {
    processing_system7 {
      set found {FCLK_CLK0 out FCLK_RESET0_N out M_AXI_GP0_ACLK in}
      if {[setting $cell CONFIG.PCW_USE_S_AXI_HP0 0]} { lappend found S_AXI_HP0_ACLK in }
      return $found
    }
    zynq_ultra_ps_e {
      set found {pl_clk0 out pl_resetn0 out}
      foreach {port pin} {
        M_AXI_HPM0_FPD maxihpm0_fpd_aclk M_AXI_HPM1_FPD maxihpm1_fpd_aclk
        M_AXI_HPM0_LPD maxihpm0_lpd_aclk S_AXI_HP0_FPD saxihp0_fpd_aclk
      } {
        if {[dict exists [interfaces $cell] $port]} { lappend found $pin in }
      }
      return $found
    }
    smartconnect { return {aclk in aresetn in} }
    proc_sys_reset { return {slowest_sync_clk in ext_reset_in in peripheral_aresetn out} }
    qblif_block { return {aclk in aresetn in} }
  }
}

proc lookup {kind path} {
  set cell [lindex [split $path /] 0]
  set name [lindex [split $path /] 1]
  if {![dict exists $::cells $cell]} { error "no cell '$cell'" }
  if {![dict exists [$kind $cell] $name]} { error "cell '$cell' has no '$name'; it has [dict keys [$kind $cell]]" }
  return $path
}

proc sense {kind path} {
  lassign [split $path /] cell name
  return [dict get [$kind $cell] $name]
}

proc connect {path other} {
  if {[dict exists $::driven $path]} { error "'$path' is connected already, to [dict get $::driven $path]" }
  dict set ::driven $path $other
}

proc existing {files} {
  foreach name $files {
    if {![file exists $name]} { error "no file '$name'" }
    set channel [open $name]
    set text [read $channel]
    close $channel
    foreach {- module} [regexp -all -inline -line {^module (\S+) ?\(} $text] { dict set ::modules $module $text }
  }
}

proc leave {name source} {
  file mkdir [file dirname $name]
  if {$source eq ""} { close [open $name w] } else { file copy -force $source $name }
}

# What the commands do; their switches arrive as the array `on`, the other arguments as `rest`, the first as `first`.
proc do_create_project {} {
  upvar on on rest rest
  if {![info exists on(-part)]} { error "no -part" }
  if {![info exists on(-in_memory)]} {
    set ::project [lindex $rest 1]
    file mkdir $::project
  }
  step create_project
}
proc do_current_project {} { step current_project create_project; return project }
proc do_add_files {} { upvar first rest; step add_files create_project; existing $rest }
proc do_read_verilog {} { upvar first rest; step read_verilog create_project; existing $rest }
proc do_update_compile_order {} { step update_compile_order add_files }
proc do_create_bd_design {} { step create_bd_design create_project }
proc do_create_bd_cell {} {
  upvar on on first rest
  step create_bd_cell create_bd_design
  if {$on(-type) eq "module"} {
    if {![dict exists $::modules $on(-reference)]} { error "no module '$on(-reference)' in the sources" }
    set kind $on(-reference)
  } else {
    set kind [lindex [split $on(-vlnv) :] 2]
    if {![dict exists $::config_names $kind]} { error "no IP '$kind'" }
  }
  if {[dict exists $::cells $rest]} { error "cell '$rest' exists" }
  dict set ::cells $rest $kind
  return $rest
}
proc do_set_property {} {
  upvar on on rest rest
  if {[info exists on(-dict)]} { set pairs $on(-dict); set object [lindex $rest 0] } else {
    set pairs [lrange $rest 0 1]; set object [lindex $rest 2]
  }
  if {$object eq ""} { error "no object" }
  if {[llength $pairs] % 2} { error "odd number of words in [list $pairs]" }
  foreach {name value} $pairs {
    if {[dict exists $::cells $object]} {
      set kind [dict get $::cells $object]
      if {$name ni [dict get $::config_names $kind]} { error "$kind has no setting '$name'" }
      dict set ::settings $object $name $value
    } elseif {$name ni {target_language synth_checkpoint_mode top CONFIG.FREQ_HZ}} {
      error "no property '$name' of '$object'"
    }
  }
}
proc do_get_property {} {
  upvar rest rest
  lassign $rest name object
  switch $name {
    PROGRESS { return $::option(progress) }
    STATUS { return "stand-in" }
    SLACK { return $object }
    CONFIG.FREQ_HZ {
      if {$::option(hertz) ne ""} { return $::option(hertz) }
      foreach wanted {CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ} {
        if {[setting ps $wanted ""] ne ""} { return [expr {int([setting ps $wanted ""] * 1e6)}] }
      }
      error "the clock's frequency is not set"
    }
    default { error "no property '$name'" }
  }
}
proc do_apply_bd_automation {} { upvar first rest; lookup pins $rest/FCLK_CLK0; set ::external 1 }
proc do_get_bd_pins {} { upvar first rest; return [lookup pins $rest] }
proc do_get_bd_intf_pins {} { upvar first rest; return [lookup interfaces $rest] }
proc do_connect_bd_net {} {
  upvar rest rest
  lassign $rest from to
  if {[sense pins $from] ne "out"} { error "'$from' drives nothing" }
  if {[sense pins $to] ne "in"} { error "'$to' is no input" }
  connect $to $from
}
proc do_connect_bd_intf_net {} {
  upvar rest rest
  lassign $rest one other
  if {[lsort [list [sense interfaces $one] [sense interfaces $other]]] ne {master slave}} {
    error "'$one' and '$other' are not one master and one slave"
  }
  connect $one $other
  connect $other $one
}
proc do_get_bd_addr_spaces {} {
  upvar first rest
  if {$rest eq "ps/Data" && [dict exists $::cells ps]} { return $rest }
  return [lookup interfaces $rest]
}
proc do_get_bd_addr_segs {} {
  upvar on on first rest
  set known {S_AXI_HP0/HP0_DDR_LOWOCM processing_system7 SAXIGP2/HP0_DDR_LOW zynq_ultra_ps_e}
  regexp {^([^/]+)/(.*)$} $rest -> cell segment
  if {[dict exists $::cells $cell]} {
    if {[dict exists $known $segment] && [dict get $known $segment] eq [dict get $::cells $cell]} { return $rest }
    if {[dict get $::cells $cell] eq "qblif_block" && $segment eq "s_axi/reg0"} { return $rest }
  }
  if {[info exists on(-quiet)]} { return {} }
  error "no segment '$rest'"
}
proc do_assign_bd_address {} {
  upvar on on first rest
  if {[info exists on(-offset)] && $on(-offset) % 65536} { error "offset $on(-offset) is not aligned" }
  lappend ::assigned $on(-target_address_space) $rest
}
proc do_validate_bd_design {} {
  foreach cell [dict keys $::cells] {
    foreach {name kind} [interfaces $cell] {
      if {![dict exists $::driven $cell/$name]} { error "interface '$cell/$name' is not connected" }
    }
    foreach {name kind} [pins $cell] {
      if {$kind eq "in" && ![dict exists $::driven $cell/$name]} { error "pin '$cell/$name' is not connected" }
    }
    if {[dict get $::cells $cell] eq "qblif_block"} {
      if {[lsearch -exact $::assigned $cell/s_axi/reg0] < 0} { error "'$cell/s_axi' has no address" }
      if {[lsearch -exact $::assigned $cell/m_axi] < 0} { error "'$cell/m_axi' reaches no memory" }
    }
    if {[dict get $::cells $cell] eq "processing_system7" && !$::external} { error "DDR is not external" }
  }
  step validate_bd_design create_bd_cell
}
proc do_save_bd_design {} { step save_bd_design validate_bd_design }
proc do_get_files {} {
  upvar first rest
  step get_files save_bd_design
  if {$rest ne "qblif_system.bd"} { error "no file '$rest'" }
  return $rest
}
proc do_generate_target {} {
  step generate_target get_files
  leave [file join $::project qblif.gen sources_1 bd qblif_system hw_handoff qblif_system.hwh] $::option(hwh)
}
proc do_make_wrapper {} {
  step make_wrapper generate_target
  set name [file join $::project qblif_system_wrapper.v]
  leave $name ""
  return $name
}
proc do_current_fileset {} { return sources_1 }
proc do_launch_runs {} {
  upvar first rest
  if {$rest eq "synth_1"} { step synth_1 make_wrapper } else { step impl_1 synth_1 "waited synth_1" }
}
proc do_wait_on_run {} {
  upvar first rest
  step "waited $rest" $rest
  if {$rest eq "impl_1" && $::option(progress) eq "100%"} {
    leave [file join $::project qblif.runs impl_1 qblif_system_wrapper.bit] $::option(bit)
  }
}
proc do_get_runs {} { upvar first rest; step get_runs $rest; return $rest }
proc do_open_run {} { upvar first rest; step route_design "waited $rest" }
proc do_read_xdc {} {
  upvar first rest
  step read_xdc read_verilog
  if {![file exists $rest]} { error "no file '$rest'" }
  uplevel #0 [list source $rest]
}
proc do_create_clock {} {
  upvar on on first rest
  if {$on(-period) <= 0} { error "period $on(-period)" }
  step create_clock
}
proc do_get_pins {} {
  upvar first rest
  if {![regexp {^(\w+)/(\w+)\[(\d+)\]$} $rest -> instance pin bit]} { error "no pin '$rest'" }
  if {![regexp "\\n  PS7 $instance \\(\[^;\]*\\.$pin\\(" [dict get $::modules qblif_ps7]]} { error "no pin '$rest'" }
  return $rest
}
proc do_synth_design {} {
  upvar on on
  if {![dict exists $::modules $on(-top)]} { error "no module '$on(-top)'" }
  step synth_design read_verilog
}
proc do_get_cells {} { step get_cells synth_design; return [lrepeat $::option(ps7) ps7] }
proc do_opt_design {} { step opt_design synth_design }
proc do_place_design {} { step place_design opt_design }
proc do_phys_opt_design {} { step phys_opt_design place_design }
proc do_route_design {} { step route_design place_design }
proc do_report_timing_summary {} { upvar on on; step report_timing_summary route_design; leave $on(-file) "" }
proc do_report_utilization {} { upvar on on; step report_utilization route_design; leave $on(-file) "" }
proc do_get_timing_paths {} {
  upvar on on
  step get_timing_paths route_design
  if {$::project eq "" && "create_clock" ni $::steps} { return {} }
  return [expr {[info exists on(-setup)] ? $::option(wns) : $::option(whs)}]
}
proc do_write_bitstream {} { upvar first rest; step write_bitstream get_timing_paths; leave $rest $::option(bit) }
proc do_version {} { return 2024.1 }

# Each command checks its arguments, and then does what `do_` says.
set ::recorded {}
foreach command [dict keys $::commands] {
  proc $command {args} [string map [list COMMAND $command] {
    lassign [dict get $::commands COMMAND] switches fewest most
    array set on {}
    set rest {}
    for {set i 0} {$i < [llength $args]} {incr i} {
      set word [lindex $args $i]
      if {![regexp {^-[a-z_]+$} $word]} {
        lappend rest $word
      } elseif {"$word=" in $switches} {
        if {[incr i] >= [llength $args]} { error "COMMAND: $word wants a value" }
        set on($word) [lindex $args $i]
      } elseif {$word in $switches} {
        set on($word) 1
      } else {
        error "COMMAND: unknown switch $word"
      }
    }
    if {[llength $rest] < $fewest || [llength $rest] > $most} {
      error "COMMAND: [llength $rest] arguments besides switches, $fewest to $most are allowed"
    }
    set first [lindex $rest 0]
    if {"COMMAND" eq "set_property" || ![string match get_* COMMAND]} {
      lappend ::recorded [string map [list "[pwd]/" ""] [list COMMAND {*}$args]]
    }
    if {[catch { do_COMMAND } answer]} { error "COMMAND: $answer" }
    return $answer
  }]
}

set failed [catch { source $script } message]
if {$option(log) ne ""} {
  set channel [open $option(log) w]
  puts $channel [join $::recorded \n]
  close $channel
}
if {$failed} {
  puts "ERROR: $message"
  exit 1
}
