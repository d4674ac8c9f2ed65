// A lane group (accumulate.LaneGroup) whose accumulators are DSP48E1 that only add, with the group's ports and latency.
//
// Ref: AMD UG479, 7 Series DSP48E1 Slice; UG953, its ports and attributes.
//
// P is the accumulator. In each cycle P = Z + X + Y with Y the weight, Z the P of before, and X the same again where the
// sum doubles; where a sum begins, X and Z are 0. A sum that is finished stands in P for a cycle and leaves through a
// register that is held in reset in all other cycles. Two lanes of up to 24 bits share a DSP48E1, carries between them
// cut (TWO24); wider lanes, and one that has no neighbour, take a DSP48E1 each.
//
// Cycle 1: the memory reads. Cycle 2: its output, masked. Cycle 3: the sum. Cycle 4: what is finished.

module qblif_dsp_lanes #(
  parameter LANES = 2,   // of the group
  parameter BITS = 24,   // of a sum, up to 48
  parameter WEIGHT = 8,  // bits of a weight, fewer than BITS
  parameter BEHIND = 0   // lanes of the groups behind this one
) (
  input clk,
  input rst,
  input [LANES + BEHIND + 1:0] i,       // from bit 0 on: last, double, skip of each lane
  output reg [BEHIND + 1:0] o,          // the same for the next group
  input [LANES * WEIGHT - 1:0] row,     // a cycle after its operation
  output reg [LANES * BITS - 1:0] total
);
  localparam EACH = BITS <= 24 && LANES % 2 == 0 ? 2 : 1;  // lanes of a DSP48E1
  localparam FIELD = 48 / EACH;                            // bits that a lane has of it

  wire [LANES + BEHIND - 1:0] skips = i >> 2;
  reg last_1, last_2, first, amid, doubled, again;
  reg [LANES - 1:0] skip;
  reg [LANES * WEIGHT - 1:0] weight;
  wire [LANES * BITS - 1:0] sum;
  integer at;

  initial begin
    {last_1, last_2, first} = 3'b111;
    {amid, doubled, again} = 3'b000;
    skip = 0;
    weight = 0;
    total = 0;
    o = 1;
  end

  always @(posedge clk) begin
    o <= {skips >> LANES, i[1], rst | i[0]};
    last_1 <= rst | i[0];
    last_2 <= rst | last_1;
    first <= rst | last_2;
    amid <= ~(rst | last_2);
    doubled <= i[1];
    again <= doubled & ~(rst | last_2);
    skip <= skips[LANES - 1:0];
    for (at = 0; at < LANES; at = at + 1)
      weight[at * WEIGHT +: WEIGHT] <= skip[at] ? {WEIGHT{1'b0}} : row[at * WEIGHT +: WEIGHT];
    total <= amid ? {LANES * BITS{1'b0}} : sum;
  end

  genvar block, lane;
  generate
    for (block = 0; block < LANES; block = block + EACH) begin : blocks
      // Kept, so that Yosys (0.70) takes no neighbouring register into the block: it makes `total` the register of the
      // multiplier that is switched off, and the sum comes a cycle early, in every cycle.
      (* keep = "true" *) wire [47:0] c, p;
      for (lane = 0; lane < EACH; lane = lane + 1) begin : lanes
        wire [WEIGHT - 1:0] w = weight[(block + lane) * WEIGHT +: WEIGHT];
        // Bits above the sum's never come back: zeros, which cost no routing.
        wire [BITS - 1:0] addend = {{BITS - WEIGHT{w[WEIGHT - 1]}}, w};
        assign c[lane * FIELD +: FIELD] = addend;
        assign sum[(block + lane) * BITS +: BITS] = p[lane * FIELD +: BITS];
      end

      // Inputs that are not used are behind registers that never load, so that nothing moves there.
      DSP48E1 #(
        .USE_MULT("NONE"), .USE_SIMD(EACH == 2 ? "TWO24" : "ONE48"), .USE_DPORT("FALSE"),
        .USE_PATTERN_DETECT("NO_PATDET"), .A_INPUT("DIRECT"), .B_INPUT("DIRECT"),
        .AREG(1), .ACASCREG(1), .BREG(1), .BCASCREG(1), .CREG(0), .DREG(1), .ADREG(1), .MREG(0), .PREG(1),
        .ALUMODEREG(0), .INMODEREG(0), .OPMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0)
      ) adders (
        .CLK(clk), .C(c), .P(p), .CEP(1'b1), .RSTP(1'b0),
        .OPMODE({1'b0, ~first, 1'b0, 2'b11, again, 1'b0}), .ALUMODE(4'b0000), .CARRYIN(1'b0), .CARRYINSEL(3'b000),
        .A({30{1'b1}}), .B({18{1'b1}}), .D({25{1'b1}}), .INMODE(5'b00000),
        .ACIN(30'd0), .BCIN(18'd0), .PCIN(48'd0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
        .CEA1(1'b0), .CEA2(1'b0), .CEB1(1'b0), .CEB2(1'b0), .CEC(1'b0), .CED(1'b0), .CEAD(1'b0), .CEM(1'b0),
        .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(1'b0),
        .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0),
        .RSTCTRL(1'b0), .RSTINMODE(1'b0), .ACOUT(), .BCOUT(), .PCOUT(), .CARRYOUT(), .CARRYCASCOUT(), .MULTSIGNOUT(),
        .OVERFLOW(), .UNDERFLOW(), .PATTERNDETECT(), .PATTERNBDETECT());
    end
  endgenerate
endmodule
