// The block RAM of the ECP5 in the modes that synthesis uses for our memories: port A writes or reads, port B reads or is
// never enabled, one clock.
//
// Rows of 1, 2, 4, 9, 18 or 36 bits, the same on both ports; rows narrower than 9 leave the ninth bit of a byte unused.
// At 18 and 36 bits the lowest address pins of port A enable its bytes; at 36 the upper half of a row is on the data
// pins of port B, and the lower half is read on those of port A. Outputs may be registered up to 18 bits, of ports that
// read in every cycle. No reset, no chip selects, no second writer. Everything else ends the simulation: parameters when
// it is built, pins at the next clock edge.
//
// What the hardware leaves open, or is not to be relied upon, is made to hurt: a byte that is read in the cycle in which
// it is written is the complement of what is written, on both ports.

module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
    DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
    DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
    DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
    DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, WID = 0;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED", INIT_DATA = "STATIC";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0,
    INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0,
    INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0, INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0,
    INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0,
    INITVAL_22 = 0, INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0,
    INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
    INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0,
    INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0, INITVAL_3C = 0, INITVAL_3D = 0,
    INITVAL_3E = 0, INITVAL_3F = 0;

  localparam W = DATA_WIDTH_A;
  localparam BYTE = W < 9 ? W : 9;
  localparam BYTES = W / BYTE;
  localparam SHIFT = W == 1 ? 0 : W == 2 ? 1 : W == 4 ? 2 : W == 9 ? 3 : W == 18 ? 4 : 5;
  localparam UNUSED = 18;  // DATA_WIDTH_B that synthesis leaves to a port B without clock and enable
  localparam WRITEMODE = W == 36 ? "NORMAL" : "READBEFOREWRITE";

  generate
    if (W != 1 && W != 2 && W != 4 && W != 9 && W != 18 && W != 36)
      $fatal(1, "DP16KD: DATA_WIDTH_A is %0d, there is a model for 1, 2, 4, 9, 18 and 36", DATA_WIDTH_A);
    if (DATA_WIDTH_B != DATA_WIDTH_A && (DATA_WIDTH_B != UNUSED || W == 36))
      $fatal(1, "DP16KD: DATA_WIDTH_B is %0d, there is a model for that of port A, %0d", DATA_WIDTH_B, DATA_WIDTH_A);
    if (WRITEMODE_A != WRITEMODE)
      $fatal(1, "DP16KD: WRITEMODE_A is %0s, at this width there is a model for %0s", WRITEMODE_A, WRITEMODE);
    if (WRITEMODE_B != WRITEMODE)
      $fatal(1, "DP16KD: WRITEMODE_B is %0s, at this width there is a model for %0s", WRITEMODE_B, WRITEMODE);
    if (WID != 0)
      $fatal(1, "DP16KD: WID is %0d, there is a model for 0", WID);
    if (REGMODE_A != "NOREG" && (REGMODE_A != "OUTREG" || W == 36))
      $fatal(1, "DP16KD: REGMODE_A is %0s, there is a model for NOREG, and below 36 bits for OUTREG", REGMODE_A);
    if (REGMODE_B != "NOREG" && (REGMODE_B != "OUTREG" || W == 36))
      $fatal(1, "DP16KD: REGMODE_B is %0s, there is a model for NOREG, and below 36 bits for OUTREG", REGMODE_B);
    if (RESETMODE != "ASYNC")
      $fatal(1, "DP16KD: RESETMODE is %0s, there is a model for ASYNC", RESETMODE);
    if (ASYNC_RESET_RELEASE != "ASYNC")
      $fatal(1, "DP16KD: ASYNC_RESET_RELEASE is %0s, there is a model for ASYNC", ASYNC_RESET_RELEASE);
    if (CSDECODE_A != "0b000")
      $fatal(1, "DP16KD: CSDECODE_A is %0s, there is a model for 0b000", CSDECODE_A);
    if (CSDECODE_B != "0b000")
      $fatal(1, "DP16KD: CSDECODE_B is %0s, there is a model for 0b000", CSDECODE_B);
    if (CLKAMUX != "CLKA")
      $fatal(1, "DP16KD: CLKAMUX is %0s, there is a model for CLKA", CLKAMUX);
    if (CLKBMUX != "CLKB")
      $fatal(1, "DP16KD: CLKBMUX is %0s, there is a model for CLKB", CLKBMUX);
    if (GSR != "DISABLED")
      $fatal(1, "DP16KD: GSR is %0s, there is a model for DISABLED", GSR);
    if (INIT_DATA != "STATIC")
      $fatal(1, "DP16KD: INIT_DATA is %0s, there is a model for STATIC", INIT_DATA);
  endgenerate

  // Words of 18 bits, 16 to a parameter, at a distance of 20 bits
  localparam [64 * 320 - 1:0] INIT = {INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A,
    INITVAL_39, INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31,
    INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F,
    INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
    INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D,
    INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04,
    INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00};

  wire [35:0] in = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [13:0] pins_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] pins_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [13:0] row_a = pins_a >> SHIFT, row_b = pins_b >> SHIFT;
  wire [BYTES-1:0] enable = CEA && WEA ? (W < 18 ? {BYTES{1'b1}} : pins_a[BYTES-1:0]) : 0;

  reg [W-1:0] mem [0:(16384 >> SHIFT)-1];
  reg [W-1:0] read = 0, shown = 0;
  reg [17:0] read_before = 0, shown_before = 0;
  integer row, at, byte9, k;

  initial
    for (row = 0; row < 16384 >> SHIFT; row = row + 1)
      for (at = 0; at < W; at = at + 1) begin
        byte9 = ((row << SHIFT) >> 3) + at / 9;
        mem[row][at] = INIT[byte9 / 32 * 320 + byte9 / 2 % 16 * 20 + byte9 % 2 * 9 +
                              (W < 9 ? (row << SHIFT) % 8 + at : at % 9)];
      end

  always @(posedge CLKA) begin
    if (CEB && !CLKB) $fatal(1, "DP16KD: CLKA and CLKB differ, there is a model for one clock");
    if (CEB && DATA_WIDTH_B != W)
      $fatal(1, "DP16KD: DATA_WIDTH_B is %0d and CEB is 1, there is a model for that of port A, %0d", DATA_WIDTH_B, W);
    if (REGMODE_A == "OUTREG" && !(CEA && OCEA))
      $fatal(1, "DP16KD: OUTREG with CEA %b and OCEA %b, there is a model for 1 and 1", CEA, OCEA);
    if (REGMODE_B == "OUTREG" && !(CEB && OCEB))
      $fatal(1, "DP16KD: OUTREG with CEB %b and OCEB %b, there is a model for 1 and 1", CEB, OCEB);
    if (RSTA || RSTB) $fatal(1, "DP16KD: RSTA or RSTB is 1, there is a model for 0");
    if (WEB) $fatal(1, "DP16KD: WEB is 1, there is a model for 0");
    if (CSA2 || CSA1 || CSA0 || CSB2 || CSB1 || CSB0) $fatal(1, "DP16KD: a CS is 1, there is a model for 0");

    read_before <= read;
    shown_before <= shown;
    if (CEB) read <= mem[row_b];
    if (CEA) shown <= mem[row_a];
    for (k = 0; k < BYTES; k = k + 1)
      if (enable[k]) begin
        mem[row_a][k * BYTE +: BYTE] <= in[k * BYTE +: BYTE];
        shown[k * BYTE +: BYTE] <= ~in[k * BYTE +: BYTE];
        if (CEB && row_a == row_b) read[k * BYTE +: BYTE] <= ~in[k * BYTE +: BYTE];
      end
  end

  wire [17:0] out_a = REGMODE_A == "OUTREG" ? shown_before : shown, out_b = REGMODE_B == "OUTREG" ? read_before : read;
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0,
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0}
    = W == 36 ? read : {out_b, out_a};
endmodule
