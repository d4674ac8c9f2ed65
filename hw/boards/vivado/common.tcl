# What both Vivado flows share. Needs settings.tcl (board, part, clock) beside it.

set here [file normalize [file dirname [info script]]]
cd $here
source [file join $here settings.tcl]
set result [file join $here result]
file mkdir $result

proc say {message} {
  puts "qblif: $message"
  flush stdout
}

# Slack of the worst path, in ns. A design without any constrained path must not pass as one that
# meets its clock.
proc worst_slack {kind paths} {
  if {[llength $paths] == 0} {
    error "qblif: no timing path ($kind): the clock is not constrained"
  }
  return [get_property SLACK [lindex $paths 0]]
}

# Write the reports of the open, routed design, and fail where it misses its clock.
proc check_timing {} {
  global result clock_mhz
  report_timing_summary -file [file join $result timing.rpt]
  report_utilization -hierarchical -file [file join $result utilization.rpt]
  set setup [worst_slack setup [get_timing_paths -max_paths 1 -nworst 1 -setup]]
  set hold [worst_slack hold [get_timing_paths -max_paths 1 -nworst 1 -hold]]
  set summary [open [file join $result summary.txt] w]
  puts $summary "tool Vivado [version -short]"
  puts $summary "clock_mhz $clock_mhz"
  puts $summary "wns_ns $setup"
  puts $summary "whs_ns $hold"
  close $summary
  say "worst slack: setup $setup ns, hold $hold ns, at $clock_mhz MHz"
  if {$setup < 0 || $hold < 0} {
    error "qblif: timing is not met at $clock_mhz MHz: setup slack $setup ns, hold slack $hold ns"
  }
}
