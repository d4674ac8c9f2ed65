// A Zynq-7000's processing system as far as a design of ours sees it: clock and reset, a processor at M_AXI_GP0 that
// loads a program and runs a job of images, and memory behind S_AXI_HP0. Its own ports have no timing beyond the clock.
// Plusargs: program, frames, results (files of hexadecimal words), program_beats, count, in_beats, out_beats, seed.
`timescale 1ns / 1ps

module BUFG (input I, output O);
  assign O = I;
endmodule

module PS7 (
  output [3:0] FCLKCLK, output [3:0] FCLKRESETN,
  input MAXIGP1ACLK, SAXIGP0ACLK, SAXIGP1ACLK, SAXIACPACLK, SAXIHP1ACLK, SAXIHP2ACLK, SAXIHP3ACLK,

  input MAXIGP0ACLK,
  output reg [31:0] MAXIGP0ARADDR, output reg [11:0] MAXIGP0ARID, output reg [3:0] MAXIGP0ARLEN,
  output reg [1:0] MAXIGP0ARSIZE, MAXIGP0ARBURST, MAXIGP0ARLOCK, output reg [3:0] MAXIGP0ARCACHE, MAXIGP0ARQOS,
  output reg [2:0] MAXIGP0ARPROT, output reg MAXIGP0ARVALID, input MAXIGP0ARREADY,
  output reg [31:0] MAXIGP0AWADDR, output reg [11:0] MAXIGP0AWID, output reg [3:0] MAXIGP0AWLEN,
  output reg [1:0] MAXIGP0AWSIZE, MAXIGP0AWBURST, MAXIGP0AWLOCK, output reg [3:0] MAXIGP0AWCACHE, MAXIGP0AWQOS,
  output reg [2:0] MAXIGP0AWPROT, output reg MAXIGP0AWVALID, input MAXIGP0AWREADY,
  output reg [31:0] MAXIGP0WDATA, output reg [11:0] MAXIGP0WID, output reg [3:0] MAXIGP0WSTRB,
  output reg MAXIGP0WLAST, MAXIGP0WVALID, input MAXIGP0WREADY,
  input [11:0] MAXIGP0BID, input [1:0] MAXIGP0BRESP, input MAXIGP0BVALID, output reg MAXIGP0BREADY,
  input [31:0] MAXIGP0RDATA, input [11:0] MAXIGP0RID, input [1:0] MAXIGP0RRESP, input MAXIGP0RLAST, MAXIGP0RVALID,
  output reg MAXIGP0RREADY,

  input SAXIHP0ACLK, SAXIHP0RDISSUECAP1EN, SAXIHP0WRISSUECAP1EN,
  input [31:0] SAXIHP0ARADDR, input [5:0] SAXIHP0ARID, input [3:0] SAXIHP0ARLEN, SAXIHP0ARCACHE, SAXIHP0ARQOS,
  input [1:0] SAXIHP0ARSIZE, SAXIHP0ARBURST, SAXIHP0ARLOCK, input [2:0] SAXIHP0ARPROT, input SAXIHP0ARVALID,
  output reg SAXIHP0ARREADY,
  input [31:0] SAXIHP0AWADDR, input [5:0] SAXIHP0AWID, input [3:0] SAXIHP0AWLEN, SAXIHP0AWCACHE, SAXIHP0AWQOS,
  input [1:0] SAXIHP0AWSIZE, SAXIHP0AWBURST, SAXIHP0AWLOCK, input [2:0] SAXIHP0AWPROT, input SAXIHP0AWVALID,
  output reg SAXIHP0AWREADY,
  input [63:0] SAXIHP0WDATA, input [5:0] SAXIHP0WID, input [7:0] SAXIHP0WSTRB, input SAXIHP0WLAST, SAXIHP0WVALID,
  output reg SAXIHP0WREADY,
  output reg [5:0] SAXIHP0BID, output reg [1:0] SAXIHP0BRESP, output reg SAXIHP0BVALID, input SAXIHP0BREADY,
  output reg [63:0] SAXIHP0RDATA, output reg [5:0] SAXIHP0RID, output reg [1:0] SAXIHP0RRESP,
  output reg SAXIHP0RLAST, SAXIHP0RVALID, input SAXIHP0RREADY);

  localparam WORDS = 1 << 14;                       // 32-bit words of memory, from address 0 on
  localparam SOURCE = 32'h4000, TARGET = 32'h8008;  // where frames and results are; the program is at 0
  localparam REGISTERS = 32'h43C0_0000;

  reg clock = 0, resetn = 0;
  always #5 clock = ~clock;
  assign FCLKCLK = {3'b000, clock};
  assign FCLKRESETN = {3'b000, resetn};

  task fail(input [8*60:1] what);
    begin
      $display("FAILED at %0t: %0s", $time, what);
      $finish;
    end
  endtask

  // Every port has to come back on this clock, and no control signal may be unknown once reset is over.
  always @(MAXIGP0ACLK or SAXIHP0ACLK) #0 if (MAXIGP0ACLK !== SAXIHP0ACLK) fail("two clocks");
  reg settled = 0;
  always @(posedge MAXIGP0ACLK) if (settled) begin
    if (^{MAXIGP0ARREADY, MAXIGP0AWREADY, MAXIGP0WREADY, MAXIGP0BVALID, MAXIGP0RVALID, SAXIHP0ARVALID, SAXIHP0AWVALID,
          SAXIHP0WVALID, SAXIHP0BREADY, SAXIHP0RREADY, SAXIHP0RDISSUECAP1EN, SAXIHP0WRISSUECAP1EN} === 1'bx)
      fail("a control signal is unknown");
    if (SAXIHP0ARVALID && (^{SAXIHP0ARADDR, SAXIHP0ARLEN} === 1'bx || SAXIHP0ARID !== 0 || SAXIHP0ARSIZE !== 3
        || SAXIHP0ARBURST !== 1 || SAXIHP0ARLOCK !== 0 || SAXIHP0ARQOS !== 0)) fail("a read that is none of ours");
    if (SAXIHP0AWVALID && (^{SAXIHP0AWADDR, SAXIHP0AWLEN} === 1'bx || SAXIHP0AWID !== 0 || SAXIHP0AWSIZE !== 3
        || SAXIHP0AWBURST !== 1 || SAXIHP0AWLOCK !== 0 || SAXIHP0AWQOS !== 0)) fail("a write that is none of ours");
    if (SAXIHP0WVALID && (SAXIHP0WID !== 0 || ^SAXIHP0WSTRB === 1'bx || SAXIHP0WLAST === 1'bx))
      fail("data that is none of ours");
  end

  // --- memory behind HP0: four bursts each way, in order, with pauses ----------------------------------------
  reg [31:0] memory [0:WORDS-1];
  reg [31:0] read_at [0:3], write_at [0:3];
  reg [3:0] read_left [0:3], write_left [0:3];
  integer reads = 0, writes = 0, answers = 0, i, seed, bursts = 0;
  wire hclk = SAXIHP0ACLK;

  initial begin
    {SAXIHP0ARREADY, SAXIHP0RVALID, SAXIHP0RLAST, SAXIHP0AWREADY, SAXIHP0WREADY, SAXIHP0BVALID} = 0;
    {SAXIHP0BID, SAXIHP0BRESP, SAXIHP0RID, SAXIHP0RRESP, SAXIHP0RDATA} = 0;
  end

  always @(posedge hclk) begin : read_side
    if (SAXIHP0ARVALID && SAXIHP0ARREADY) begin
      read_at[reads] = SAXIHP0ARADDR;
      read_left[reads] = SAXIHP0ARLEN;
      reads = reads + 1;
      bursts = bursts + 1;
      if (SAXIHP0ARADDR[11:0] + 8 * SAXIHP0ARLEN > 4088) fail("a read burst crosses 4 KiB");
    end
    if (SAXIHP0RVALID && SAXIHP0RREADY) begin
      SAXIHP0RVALID <= 0;
      read_at[0] = read_at[0] + 8;
      if (SAXIHP0RLAST) begin
        for (i = 0; i < 3; i = i + 1) begin read_at[i] = read_at[i + 1]; read_left[i] = read_left[i + 1]; end
        reads = reads - 1;
      end else read_left[0] = read_left[0] - 1;
    end
    if (!(SAXIHP0RVALID && !SAXIHP0RREADY) && reads > 0 && $urandom % 4 != 0) begin
      SAXIHP0RVALID <= 1;
      SAXIHP0RDATA <= {memory[read_at[0][15:2] | 1], memory[read_at[0][15:2]]};
      SAXIHP0RLAST <= read_left[0] == 0;
    end
    SAXIHP0ARREADY <= reads < 3 && $urandom % 3 != 0;
  end

  always @(posedge hclk) begin : write_side
    if (SAXIHP0AWVALID && SAXIHP0AWREADY) begin
      write_at[writes] = SAXIHP0AWADDR;
      write_left[writes] = SAXIHP0AWLEN;
      writes = writes + 1;
      bursts = bursts + 1;
      if (SAXIHP0AWADDR[11:0] + 8 * SAXIHP0AWLEN > 4088) fail("a write burst crosses 4 KiB");
    end
    if (SAXIHP0WVALID && SAXIHP0WREADY) begin
      for (i = 0; i < 8; i = i + 1) if (SAXIHP0WSTRB[i])
        memory[{write_at[0][15:3], i[2]}][8 * i[1:0] +: 8] = SAXIHP0WDATA[8 * i +: 8];
      if (SAXIHP0WLAST !== (write_left[0] == 0)) fail("WLAST is at the wrong word");
      write_at[0] = write_at[0] + 8;
      if (SAXIHP0WLAST) begin
        for (i = 0; i < 3; i = i + 1) begin write_at[i] = write_at[i + 1]; write_left[i] = write_left[i + 1]; end
        writes = writes - 1;
        answers = answers + 1;
      end else write_left[0] = write_left[0] - 1;
    end
    if (SAXIHP0BVALID && SAXIHP0BREADY) begin
      SAXIHP0BVALID <= 0;
      answers = answers - 1;
    end else if (answers > 0 && $urandom % 4 != 0) SAXIHP0BVALID <= 1;
    SAXIHP0AWREADY <= writes < 3 && $urandom % 3 != 0;
    // Data is taken for a burst whose address was, and not in the cycle after another's last: that may be the next one's.
    SAXIHP0WREADY <= writes > 0 && !SAXIHP0WREADY && $urandom % 3 != 0;
  end

  // --- the processor at GP0 ----------------------------------------------------------------------------------
  wire gclk = MAXIGP0ACLK;
  reg [11:0] id;

  task write(input [11:0] offset, input [31:0] value);
    begin
      id = $urandom;
      @(negedge gclk);
      MAXIGP0AWADDR = REGISTERS + offset; MAXIGP0AWID = id; MAXIGP0AWVALID = 1;
      MAXIGP0WDATA = value; MAXIGP0WID = id; MAXIGP0WSTRB = 15; MAXIGP0WLAST = 1; MAXIGP0WVALID = 1; MAXIGP0BREADY = 1;
      while (MAXIGP0AWVALID || MAXIGP0WVALID) begin : channels
        reg address, data;
        @(posedge gclk);
        address = MAXIGP0AWREADY; data = MAXIGP0WREADY;
        @(negedge gclk);
        if (address) MAXIGP0AWVALID = 0;
        if (data) MAXIGP0WVALID = 0;
      end
      while (!MAXIGP0BVALID) @(posedge gclk);
      if (MAXIGP0BID !== id || MAXIGP0BRESP !== 0) fail("the answer to a write has another identifier, or an error");
      @(negedge gclk);
      MAXIGP0BREADY = 0;
    end
  endtask

  task read(input [11:0] offset, output [31:0] value);
    begin
      id = $urandom;
      @(negedge gclk);
      MAXIGP0ARADDR = REGISTERS + offset; MAXIGP0ARID = id; MAXIGP0ARVALID = 1; MAXIGP0RREADY = 1;
      @(posedge gclk);
      while (!MAXIGP0ARREADY) @(posedge gclk);
      @(negedge gclk);
      MAXIGP0ARVALID = 0;
      @(posedge gclk);
      while (!MAXIGP0RVALID) @(posedge gclk);
      value = MAXIGP0RDATA;
      if (MAXIGP0RID !== id || MAXIGP0RRESP !== 0 || MAXIGP0RLAST !== 1)
        fail("the answer to a read has another identifier, an error, or no last");
      @(negedge gclk);
      MAXIGP0RREADY = 0;
    end
  endtask

  reg [31:0] status;
  task job(input [31:0] kind, source, beats, target, frames, results);
    begin
      write(12'h208, kind); write(12'h210, source); write(12'h214, 0); write(12'h218, target); write(12'h21C, 0);
      write(12'h220, frames); write(12'h224, beats); write(12'h228, results);
      write(12'h200, 1);
      status = 1;
      while (!status[1]) begin
        repeat (50) @(posedge gclk);
        read(12'h204, status);
      end
      if (status !== 2) begin
        $display("JOB_STATUS is %h", status);
        fail("a job ended in an error");
      end
    end
  endtask

  reg [8*200:1] name;
  integer program_beats, count, in_beats, out_beats, file;
  reg [31:0] value;
  initial begin
    {MAXIGP0ARADDR, MAXIGP0ARID, MAXIGP0ARLEN, MAXIGP0ARLOCK, MAXIGP0ARCACHE, MAXIGP0ARQOS, MAXIGP0ARPROT} = 0;
    {MAXIGP0AWADDR, MAXIGP0AWID, MAXIGP0AWLEN, MAXIGP0AWLOCK, MAXIGP0AWCACHE, MAXIGP0AWQOS, MAXIGP0AWPROT} = 0;
    {MAXIGP0ARVALID, MAXIGP0AWVALID, MAXIGP0WVALID, MAXIGP0BREADY, MAXIGP0RREADY, MAXIGP0WLAST} = 0;
    {MAXIGP0WDATA, MAXIGP0WID, MAXIGP0WSTRB} = 0;
    {MAXIGP0ARSIZE, MAXIGP0AWSIZE} = {2'd2, 2'd2};
    {MAXIGP0ARBURST, MAXIGP0AWBURST} = {2'd1, 2'd1};
    for (i = 0; i < WORDS; i = i + 1) memory[i] = 32'hDEAD_0000 + i;
    if (!$value$plusargs("seed=%d", seed) || !$value$plusargs("program_beats=%d", program_beats)
        || !$value$plusargs("count=%d", count) || !$value$plusargs("in_beats=%d", in_beats)
        || !$value$plusargs("out_beats=%d", out_beats)) fail("a plusarg is missing");
    seed = $urandom(seed);
    if (program_beats > 0 && $value$plusargs("program=%s", name)) $readmemh(name, memory, 0, program_beats - 1);
    if ($value$plusargs("frames=%s", name)) $readmemh(name, memory, SOURCE / 4, SOURCE / 4 + count * in_beats - 1);
    // Out of reset between two edges of the clock, as it may come.
    #203 resetn = 1;
    repeat (10) @(posedge gclk);
    settled = 1;
    read(12'h000, value);
    $display("ID %h", value);
    write(12'h028, 20000);
    if (program_beats > 0) job(1, 0, program_beats, 0, 1, 0);    // otherwise it is baked in
    job(0, SOURCE, in_beats, TARGET, count, out_beats);
    read(12'h22C, value);
    $display("DONE %0d, %0d bursts", value, bursts);
    if ($value$plusargs("results=%s", name)) begin
      file = $fopen(name, "w");
      for (i = -2; i < count * out_beats + 2; i = i + 1) $fdisplay(file, "%h", memory[TARGET / 4 + i]);
      $fclose(file);
    end
    $finish;
  end

  initial begin
    #20_000_000 fail("two million cycles were not enough");
  end
endmodule
