// Drives one Verilated UartTop at its line: a UART on each side, and a wire between them that can be disturbed.
//
// Compiled together with the model, harness.h and the generated model.h. Called from sim/uart.py; C interface at the
// end. Time is in clock cycles of the design.

#include "harness.h"

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace {

enum Kind : int { FLIP = 0, LOSE = 1, EXTRA = 2, NOISE = 3, BREAK = 4, GLITCH = 5 };

// What happens to byte number `at` of a direction: FLIP: the bits of mask `a` (bit 0: start bit) are inverted;
// LOSE: it is not sent; EXTRA: byte `a` comes before it; NOISE: `a` bits of seed `b` come before it; BREAK: the line is
// low for `a` bits before it; GLITCH: the line is inverted for `b` cycles from cycle `a` of the byte on.
struct Fault {
    uint64_t at;
    int kind;
    uint32_t a, b;
};

// Bytes to a line.
struct Wire {
    double bit_cycles = 8;
    double error_rate = 0;          // of bits, beside the scheduled faults
    std::mt19937_64 random{1};
    std::deque<uint8_t> bytes;
    std::deque<Fault> faults;       // by `at`
    uint64_t taken = 0, applied[6] = {}, random_flips = 0;
    std::vector<uint8_t> levels;    // of what is being sent
    size_t level = 0;
    double left = 0;                // cycles of this level
    uint32_t cycle = 0, glitch_at = 0, glitch_cycles = 0;

    bool idle() const { return bytes.empty() && level >= levels.size(); }

    void load() {
        levels.clear();
        level = 0;
        cycle = glitch_cycles = 0;
        uint32_t flips = 0;
        bool lost = false;
        const uint64_t number = taken++;
        while (!faults.empty() && faults.front().at <= number) {
            const Fault fault = faults.front();
            faults.pop_front();
            ++applied[fault.kind];
            switch (fault.kind) {
                case FLIP: flips ^= fault.a; break;
                case LOSE: lost = true; break;
                case EXTRA: append(fault.a, 0); break;
                case NOISE: {
                    std::mt19937 noise(fault.b);
                    for (uint32_t i = 0; i < fault.a; ++i) levels.push_back(noise() & 1);
                    levels.push_back(1);
                    break;
                }
                case BREAK:
                    levels.insert(levels.end(), fault.a, 0);
                    levels.push_back(1);
                    break;
                case GLITCH: glitch_at = fault.a; glitch_cycles = fault.b; break;
            }
        }
        if (error_rate > 0)
            for (int bit = 0; bit < 10; ++bit)
                if (std::uniform_real_distribution<>()(random) < error_rate) { flips ^= 1u << bit; ++random_flips; }
        if (!lost) append(bytes.front(), flips);
        bytes.pop_front();
        if (levels.empty()) levels.push_back(1);
    }

    void append(uint32_t byte, uint32_t flips) {
        const uint32_t bits = (byte << 1 | 0x200) ^ flips;
        for (int bit = 0; bit < 10; ++bit) levels.push_back(bits >> bit & 1);
    }

    // The level in the next clock cycle.
    bool step() {
        if (left < 1) {
            if (level < levels.size()) ++level;
            if (level >= levels.size()) {
                if (bytes.empty()) { left = 0; return true; }
                load();
            }
            left += bit_cycles;
        }
        left -= 1;
        const bool inverted = cycle - glitch_at < glitch_cycles;
        ++cycle;
        return (levels[level] != 0) != inverted;
    }
};

// A line to bytes: samples the middle of each bit. A byte without a stop bit is read as 0, as a host's driver does it.
struct Receiver {
    double bit_cycles = 8;
    double until = 0;
    int bit = -1;        // -1: waits for a start bit; 10: waits for the line to be high
    uint32_t bits = 0;
    uint64_t broken = 0;

    bool idle() const { return bit < 0; }

    // Returns true when a byte is complete.
    bool step(bool level, uint8_t &byte) {
        if (bit < 0) {
            if (level) return false;
            bit = 0;
            bits = 0;
            until = bit_cycles / 2;
        }
        if (bit == 10) {
            if (level) bit = -1;
            return false;
        }
        until -= 1;
        if (until >= 0) return false;
        until += bit_cycles;
        if (bit == 0 && level) { bit = -1; return false; }
        bits |= static_cast<uint32_t>(level) << bit;
        if (++bit < 10) return false;
        bit = level ? -1 : 10;
        broken += !level;
        byte = level ? bits >> 1 & 0xFF : 0;
        return true;
    }
};

struct Simulator : Clocked {
    uint64_t quiet = 0;
    bool rx = true;
    Wire wires[2];               // 0: to the design, 1: from it
    Receiver monitor, host;      // of the design's line; of the host's
    std::deque<uint8_t> received;

    explicit Simulator(double bit_cycles) {
        for (Wire &wire : wires) wire.bit_cycles = bit_cycles;
        monitor.bit_cycles = host.bit_cycles = bit_cycles;
        reset();
    }

    void reset() {
        stopped = &stop_message;
        model.rst = 1;
        model.rx = 1;
        for (int i = 0; i < 4; ++i) clock(true);
        model.rst = 0;
        clock(true);
        stop_message.clear();
    }

    void clock(bool changed) {
        fall(changed);
        rise();
    }

    int run(uint64_t cycles) {
        stopped = &stop_message;
        for (; cycles; --cycles) {
            const bool level = wires[0].step();
            const bool changed = level != rx;
            rx = level;
            model.rx = level;
            clock(changed);
            uint8_t byte;
            if (monitor.step(model.tx, byte)) wires[1].bytes.push_back(byte);
            if (host.step(wires[1].step(), byte)) received.push_back(byte);
            const bool moves = !wires[0].idle() || !wires[1].idle() || !monitor.idle() || !host.idle() || model.busy;
            quiet = moves ? 0 : quiet + 1;
            if (!stop_message.empty()) return 1;
        }
        return 0;
    }
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

Simulator *uart_new(double bit_cycles) { return new Simulator(bit_cycles); }
void uart_free(Simulator *sim) { delete sim; }
const char *uart_problem(Simulator *sim) { return sim->wrong(); }
uint64_t uart_now(Simulator *sim) { return sim->now; }

// Cycles in which nothing moved on the line and no image was in the chain, up to now.
uint64_t uart_quiet(Simulator *sim) { return sim->quiet; }

// The design's power goes off and on.
void uart_reset(Simulator *sim) { sim->reset(); }

// Bit length of the host's sender and receiver, in cycles.
void uart_host_rate(Simulator *sim, double bit_cycles) { sim->wires[0].bit_cycles = sim->host.bit_cycles = bit_cycles; }

int uart_run(Simulator *sim, uint64_t cycles) { return sim->run(cycles); }

// Queue bytes from the host.
void uart_send(Simulator *sim, const uint8_t *data, uint64_t count) {
    sim->wires[0].bytes.insert(sim->wires[0].bytes.end(), data, data + count);
    if (count) sim->quiet = 0;
}
uint64_t uart_unsent(Simulator *sim) { return sim->wires[0].bytes.size(); }

// Hand over up to `room` bytes for the host; returns their number.
uint64_t uart_receive(Simulator *sim, uint8_t *data, uint64_t room) {
    uint64_t count = 0;
    for (; count < room && !sim->received.empty(); ++count) {
        data[count] = sim->received.front();
        sim->received.pop_front();
    }
    return count;
}

// Bytes that went over a direction so far.
uint64_t uart_bytes(Simulator *sim, int direction) { return sim->wires[direction].taken; }

// Schedule a fault for the byte that comes `after` more bytes of that direction, behind those scheduled before.
void uart_fault(Simulator *sim, int direction, int kind, uint64_t after, uint32_t a, uint32_t b) {
    Wire &wire = sim->wires[direction];
    auto place = wire.faults.begin();
    while (place != wire.faults.end() && place->at <= wire.taken + after) ++place;
    wire.faults.insert(place, Fault{wire.taken + after, kind, a, b});
}

// Forget scheduled faults; returns their number.
uint64_t uart_forget_faults(Simulator *sim, int direction) {
    const uint64_t count = sim->wires[direction].faults.size();
    sim->wires[direction].faults.clear();
    return count;
}

// Invert bits at random from now on; 0: no more.
void uart_error_rate(Simulator *sim, int direction, double rate, uint64_t seed) {
    sim->wires[direction].error_rate = rate;
    sim->wires[direction].random.seed(seed);
}

// Faults that happened so far, by kind; kind 6: bits inverted by the error rate.
uint64_t uart_applied(Simulator *sim, int direction, int kind) {
    return kind < 6 ? sim->wires[direction].applied[kind] : sim->wires[direction].random_flips;
}

}  // extern "C"
#pragma GCC visibility pop
