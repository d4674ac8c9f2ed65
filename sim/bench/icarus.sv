// Test bench of qblif_top for sim/icarus.py: loads program.hex, waits until it is in place, sends the frames of
// frames.hex, writes what happens to events.txt: kind, cycle, two values.

module bench;
  parameter PROGRAM = 1, FRAMES = 1, BEATS = 1, CLASSES = 1, SEED = 1, TIMEOUT = 1000000, WAVES = 0;
  // Chances of a stall, in thousandths
  parameter STALL_PROGRAM = 0, STALL_INPUT = 0, STALL_OUTPUT = 0, STALL_BUS = 0;

  reg clk = 0, rst = 1;
  integer now = 0, moved = 0, events, seed = SEED;
  reg [31:0] program_words [0:PROGRAM - 1];
  reg [31:0] frame_words [0:(FRAMES * BEATS > 0 ? FRAMES * BEATS : 1) - 1];

  reg [11:0] s_axi_araddr = 0;
  reg s_axi_arvalid = 0, s_axi_rready = 0;
  wire s_axi_arready, s_axi_rvalid;
  wire [31:0] s_axi_rdata;
  reg program_valid = 0, input_valid = 0, output_ready = 0, program_last = 0, input_last = 0;
  reg [31:0] program_data = 0, input_data = 0;
  wire program_ready, input_ready, output_valid, output_last;
  wire [31:0] output_data;

  qblif_top dut (
      .clk(clk), .rst(rst),
      .s_axi_awaddr(12'd0), .s_axi_awprot(3'd0), .s_axi_awvalid(1'b0), .s_axi_wdata(32'd0), .s_axi_wstrb(4'd0),
      .s_axi_wvalid(1'b0), .s_axi_bready(1'b0),
      .s_axi_araddr(s_axi_araddr), .s_axi_arprot(3'd0), .s_axi_arvalid(s_axi_arvalid), .s_axi_arready(s_axi_arready),
      .s_axi_rdata(s_axi_rdata), .s_axi_rvalid(s_axi_rvalid), .s_axi_rready(s_axi_rready),
      .s_axis_program_tdata(program_data), .s_axis_program_tvalid(program_valid),
      .s_axis_program_tready(program_ready), .s_axis_program_tlast(program_last),
      .s_axis_input_tdata(input_data), .s_axis_input_tvalid(input_valid),
      .s_axis_input_tready(input_ready), .s_axis_input_tlast(input_last),
      .m_axis_output_tdata(output_data), .m_axis_output_tvalid(output_valid),
      .m_axis_output_tready(output_ready), .m_axis_output_tlast(output_last));

  captures captures ();

  always #5 clk = !clk;

  function stall(input integer thousandths);
    stall = thousandths != 0 && $unsigned($random(seed)) % 1000 < thousandths;
  endfunction

  // Reads a register, into `value`. All inputs of the design change with non-blocking assignments at the rising
  // edge, so that what is read there is what the design's registers see.
  reg [31:0] value, info;
  task read(input [11:0] offset);
    begin
      s_axi_araddr <= offset;
      s_axi_arvalid <= 1;
      @(posedge clk);
      while (!s_axi_arready) @(posedge clk);
      s_axi_arvalid <= 0;
      while (stall(STALL_BUS)) @(posedge clk);
      s_axi_rready <= 1;
      @(posedge clk);
      while (!s_axi_rvalid) @(posedge clk);
      value = s_axi_rdata;
      s_axi_rready <= 0;
      @(posedge clk);
    end
  endtask

  task finish;
    begin
      read(12'h2C);
      info = value;
      read(12'h24);
      $fdisplay(events, "status %0d %h %h", now, value, info);
      $fclose(events);
      $display("finished");
      $finish;
    end
  endtask

  // Both streams: present a beat, keep it until it is taken.
  integer program_at = 0, input_at = 0, beats_out = 0;
  reg loaded = 0;
  always @(posedge clk) if (!rst) begin
    now <= now + 1;
    if (program_valid && program_ready) moved = now;
    if (!program_valid || program_ready) begin
      if (program_at < PROGRAM && !stall(STALL_PROGRAM)) begin
        program_valid <= 1;
        program_data <= program_words[program_at];
        program_last <= program_at == PROGRAM - 1;
        program_at <= program_at + 1;
      end else program_valid <= 0;
    end
    if (input_valid && input_ready) begin
      moved = now;
      if ((input_at - 1) % BEATS == 0) $fdisplay(events, "start %0d 0 0", now);
    end
    if (!input_valid || input_ready) begin
      if (loaded && input_at < FRAMES * BEATS && !stall(STALL_INPUT)) begin
        input_valid <= 1;
        input_data <= frame_words[input_at];
        input_last <= input_at % BEATS == BEATS - 1;
        input_at <= input_at + 1;
      end else input_valid <= 0;
    end
    output_ready <= !stall(STALL_OUTPUT);
    if (output_valid !== 0 && output_ready) begin
      moved = now;
      $fdisplay(events, "beat %0d %h %b", now, output_valid ? output_data : 32'bx, output_last);
      if (output_last) $display("image");
      beats_out <= beats_out + 1;
    end
    // A payload on offer has to stay until it is taken.
    if (waiting && (output_valid !== 1 || output_data !== waiting_data || output_last !== waiting_last)) begin
      $display("m_axis_output changed in cycle %0d while it waited for tready", now);
      $finish;
    end
    waiting <= output_valid === 1 && !output_ready;
    waiting_data <= output_data;
    waiting_last <= output_last;
  end
  reg waiting = 0, waiting_last = 0;
  reg [31:0] waiting_data = 0;

  initial begin
    if (WAVES) begin
      $dumpfile("waves.vcd");
      $dumpvars(0, dut);
    end
    events = $fopen("events.txt", "w");
    $readmemh("program.hex", program_words);
    if (FRAMES > 0) $readmemh("frames.hex", frame_words);
    repeat (4) @(posedge clk);
    rst <= 0;
    value = 0;
    // Until the program is in place (bit 0) or refused (bits 8 to 15)
    while (value[0] !== 1 && value[15:8] == 0 && now - moved < TIMEOUT) read(12'h24);
    if (value[15:8] != 0 || value[0] !== 1) finish;
    loaded <= 1;
    while (beats_out < FRAMES * CLASSES && value[15:8] == 0 && now - moved < TIMEOUT) begin
      repeat (64) @(posedge clk);
      read(12'h24);
    end
    while (value[1] && value[15:8] == 0 && now - moved < TIMEOUT) read(12'h24);
    finish;
  end
endmodule
