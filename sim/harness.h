// What all harnesses share: the model with its clock and waveform file, how it stops, and the register bus's master.
//
// Included once in a library, by the harness that is compiled together with the model and the generated model.h, which
// defines MODEL (the class). sim/verilator.py puts it beside them.

#pragma once

#include "model.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

#include <cstdint>
#include <string>

// What functions called from Python return; in step with Status in sim/model.py. BROKEN: the design broke a rule of
// one of its interfaces; STOPPED: one of its own assertions.
enum Status : int { DONE = 0, AGAIN = 1, TIMEOUT = 2, BROKEN = 3, STOPPED = 4 };

// Set by $stop, $fatal (a failed assertion) or $finish of the model that this thread evaluates.
static thread_local std::string *stopped = nullptr;

static void stop(const char *file, int line, const char *what) {
    if (stopped && stopped->empty()) *stopped = std::string(what) + " at " + file + ":" + std::to_string(line);
}

void vl_stop(const char *file, int line, const char *) VL_MT_UNSAFE { stop(file, line, "the design stopped: an assertion failed"); }
void vl_fatal(const char *file, int line, const char *, const char *what) VL_MT_UNSAFE { stop(file, line, what); }
void vl_finish(const char *file, int line, const char *) VL_MT_UNSAFE { stop(file, line, "the design called $finish"); }

// The model and its clock. The wrapper around the design registers all inputs at the edge of `sample`, before that of
// `clk`: while they do not change, which is most of the time, nothing that depends on them is computed again.
struct Clocked {
    VerilatedContext context;
    MODEL model{&context, "top"};
    uint64_t now = 0;  // clock cycles
    std::string stop_message, problem;
#if VM_TRACE
    VerilatedVcdC *waves = nullptr;
#endif

    Clocked() {
        context.assertOn(true);
        model.clk = model.sample = 0;
    }
    Clocked(const Clocked &) = delete;
    ~Clocked() {
#if VM_TRACE
        if (waves) { waves->close(); delete waves; }
#endif
        model.final();
    }

    // A cycle's first half, after which outputs are right; changed: inputs were set since the last one.
    void fall(bool changed) {
        model.clk = 0;
        model.sample = changed;
        model.eval();
        model.sample = 0;
        dump(0);
    }

    // Its second half.
    void rise() {
        model.clk = 1;
        model.eval();
        dump(1);
        ++now;
    }

    // What is wrong, if anything is.
    const char *wrong() const { return stop_message.empty() ? problem.c_str() : stop_message.c_str(); }

    // Write waveforms to a file from now on; 0: done, 1: the file cannot be written, 2: the library has none.
    int open_waves(const char *path) {
#if VM_TRACE
        context.traceEverOn(true);
        waves = new VerilatedVcdC;
        model.trace(waves, 99);
        waves->open(path);
        return waves->isOpen() ? 0 : 1;
#else
        (void)path;
        return 2;
#endif
    }

  private:
    void dump(uint64_t half) {
#if VM_TRACE
        if (waves) waves->dump(2 * now + half);
#else
        (void)half;
#endif
    }
};

// What the master of the register bus (AXI4-Lite) drives.
struct BusPins {
    bool write = false, address_valid = false, data_valid = false, response_ready = false;
    uint32_t address = 0, data = 0;

    bool operator==(const BusPins &) const = default;
};

// The master: one access at a time. Templates, since not every design has such a bus.
struct Bus {
    BusPins pins;
    bool active = false;
    uint32_t data = 0, response = 0;  // of the last access: what was read, and the response

    void begin(bool write, uint32_t address, uint32_t value) {
        active = true;
        pins = {write, true, true, false, address, value};
    }

    // The access under way begins again: whoever answers was reset.
    void again() {
        if (active) pins.address_valid = pins.data_valid = true;
    }

    void end() { active = pins.address_valid = pins.data_valid = pins.response_ready = false; }

    template <class M> static void drive(M &model, const BusPins &pins) {
        model.s_axi_awvalid = pins.write && pins.address_valid;
        model.s_axi_wvalid = pins.write && pins.data_valid;
        model.s_axi_bready = pins.write && pins.response_ready;
        model.s_axi_arvalid = !pins.write && pins.address_valid;
        model.s_axi_rready = !pins.write && pins.response_ready;
        model.s_axi_awaddr = model.s_axi_araddr = pins.address;
        model.s_axi_wdata = pins.data;
        model.s_axi_wstrb = 0xF;
        model.s_axi_awprot = model.s_axi_arprot = 0;
    }

    // Look at the answers to the pins, which were driven before.
    template <class M> void step(const M &model) {
        if (pins.write) {
            if (pins.address_valid && model.s_axi_awready) pins.address_valid = false;
            if (pins.data_valid && model.s_axi_wready) pins.data_valid = false;
            if (pins.response_ready && model.s_axi_bvalid) {
                response = model.s_axi_bresp;
                active = false;
            }
        } else {
            if (pins.address_valid && model.s_axi_arready) pins.address_valid = false;
            if (pins.response_ready && model.s_axi_rvalid) {
                data = model.s_axi_rdata;
                response = model.s_axi_rresp;
                active = false;
            }
        }
        pins.response_ready = active;
    }
};
