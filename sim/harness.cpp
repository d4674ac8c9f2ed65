// Drives one Verilated top: bus master, stream sources and sink, monitors and trace capture, all in the clock loop.
//
// Compiled together with the model, harness.h and the generated model.h, which defines TRACE_COUNT and TRACES(X):
// X(index, core, cluster, bits) per trace port. Called from sim/model.py; C interface at the end.

#include "harness.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

// Xorshift generator: one per stream, so that the stalls of one do not depend on the others.
struct Random {
    uint64_t state = 1;
    uint32_t chance = 0;  // of a stall, in 1 / 2**32

    void seed(uint64_t value, double probability) {
        state = value * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull;
        if (!state) state = 1;
        chance = probability <= 0 ? 0 : probability >= 1 ? 0xFFFFFFFFu : static_cast<uint32_t>(probability * 4294967296.0);
    }
    bool stall() {
        if (!chance) return false;
        state ^= state << 13; state ^= state >> 7; state ^= state << 17;
        return static_cast<uint32_t>(state >> 32) < chance;
    }
};

struct Source {
    std::vector<uint32_t> data;
    std::vector<uint8_t> last;
    std::vector<uint64_t> starts;  // cycle in which the first beat of each frame was taken
    size_t at = 0;
    bool valid = false, inside = false;
    Random random;

    void clear() { data.clear(); last.clear(); starts.clear(); at = 0; valid = inside = false; }
    void offer() { if (!valid && at < data.size()) valid = !random.stall(); }  // once valid, it stays until taken
    void taken(uint64_t now) {
        if (!inside) starts.push_back(now);
        inside = !last[at];
        ++at;
        valid = false;
    }
};

struct Sink {
    std::vector<uint32_t> data;
    std::vector<uint8_t> last;
    std::vector<uint64_t> cycles;
    bool waiting = false, waiting_last = false;
    uint32_t waiting_data = 0;
    Random random;

    void clear() { data.clear(); last.clear(); cycles.clear(); }
};

// What the design's input ports get in a cycle.
struct Inputs {
    bool rst = false, output_ready = false, program_valid = false, program_last = false, input_valid = false,
         input_last = false;
    uint32_t program_data = 0, input_data = 0;
    BusPins bus;

    bool operator==(const Inputs &) const = default;
};

template <class T> void append(std::vector<uint32_t> &words, const T &value, int bits) {
    uint32_t raw[(sizeof(T) + 3) / 4] = {};
    std::memcpy(raw, &value, sizeof(T));  // little-endian machines only, as Verilator's VlWide is
    words.insert(words.end(), raw, raw + (bits + 31) / 32);
}

struct Simulator : Clocked {
    bool in_reset = false;
    Source program, input;
    Sink output;
    Bus bus;
    Random bus_random;
    Inputs inputs;
    std::vector<std::vector<uint32_t>> traces;
    std::vector<std::vector<uint64_t>> trace_cycles;  // cycle of each record
    bool tracing = false;

    Simulator() : traces(TRACE_COUNT), trace_cycles(TRACE_COUNT) {}

    // One clock cycle.
    Status cycle() {
        program.offer();
        input.offer();
        Inputs wanted;
        wanted.rst = in_reset;
        wanted.output_ready = !output.random.stall();
        wanted.program_valid = program.valid;
        wanted.program_last = program.valid && program.last[program.at];
        wanted.program_data = program.valid ? program.data[program.at] : 0;
        wanted.input_valid = input.valid;
        wanted.input_last = input.valid && input.last[input.at];
        wanted.input_data = input.valid ? input.data[input.at] : 0;
        wanted.bus = bus.pins;
        const bool changed = !(wanted == inputs) || !now;
        if (changed) drive(wanted);
        fall(changed);

        Status status = DONE;
        if (!in_reset) {
            if (program.valid && model.s_axis_program_tready) program.taken(now);
            if (input.valid && model.s_axis_input_tready) input.taken(now);
            status = take_output();
            if (bus.active) {
                bus.step(model);
                bus.pins.response_ready = bus.pins.response_ready && !bus_random.stall();
            }
            if (tracing) capture();
        }
        rise();
        return stop_message.empty() ? status : STOPPED;
    }

    void drive(const Inputs &wanted) {
        inputs = wanted;
        model.rst = wanted.rst;
        model.s_axis_program_tvalid = wanted.program_valid;
        model.s_axis_program_tdata = wanted.program_data;
        model.s_axis_program_tlast = wanted.program_last;
        model.s_axis_input_tvalid = wanted.input_valid;
        model.s_axis_input_tdata = wanted.input_data;
        model.s_axis_input_tlast = wanted.input_last;
        model.m_axis_output_tready = wanted.output_ready;
        Bus::drive(model, wanted.bus);
    }

    Status take_output() {
        const bool valid = model.m_axis_output_tvalid, last = model.m_axis_output_tlast;
        const uint32_t data = model.m_axis_output_tdata;
        if (output.waiting && (!valid || data != output.waiting_data || last != output.waiting_last)) {
            problem = "m_axis_output changed in cycle " + std::to_string(now) + " while it waited for tready";
            return BROKEN;
        }
        output.waiting = valid && !inputs.output_ready;
        output.waiting_data = data;
        output.waiting_last = last;
        if (valid && inputs.output_ready) {
            output.data.push_back(data);
            output.last.push_back(last);
            output.cycles.push_back(now);
        }
        return DONE;
    }

    void capture() {
#define CAPTURE(index, core, cluster, bits) \
        if (model.trace_##core##_##cluster##_valid) { \
            append(traces[index], model.trace_##core##_##cluster##_data, bits); \
            trace_cycles[index].push_back(now); \
        }
        TRACES(CAPTURE)
    }

    // `cycles` clock cycles, or fewer: until `beats` output beats and all input are through, 0 beats: never.
    Status run(uint64_t cycles, uint64_t beats) {
        stopped = &stop_message;
        for (; cycles; --cycles) {
            const Status status = cycle();
            if (status != DONE) return status;
            if (beats && output.data.size() >= beats && input.at == input.data.size()) return DONE;
        }
        return beats ? AGAIN : DONE;
    }

    Status access(bool write, uint32_t address, uint32_t data, uint64_t cycles) {
        stopped = &stop_message;
        bus.begin(write, address, data);
        for (; bus.active && cycles; --cycles) {
            const Status status = cycle();
            if (status != DONE) { bus.end(); return status; }
        }
        const bool late = bus.active;
        bus.end();
        if (late) return TIMEOUT;
        // One more cycle, in which nothing is offered, so that the effects of a write can be seen.
        return cycle();
    }

    Status reset(uint64_t cycles) {
        stopped = &stop_message;
        problem.clear();
        program.clear();
        input.clear();
        output.clear();
        output.waiting = false;
        bus.end();
        in_reset = true;
        for (; cycles; --cycles) cycle();
        in_reset = false;
        stop_message.clear();  // assertions are evaluated during reset too, on whatever state there was
        return DONE;
    }
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

Simulator *sim_new() { return new Simulator; }
void sim_free(Simulator *sim) { delete sim; }
uint64_t sim_now(Simulator *sim) { return sim->now; }

const char *sim_problem(Simulator *sim) { return sim->wrong(); }

int sim_reset(Simulator *sim, uint64_t cycles) { return sim->reset(cycles); }

int sim_access(Simulator *sim, int write, uint32_t address, uint32_t *data, uint32_t *response, uint64_t cycles) {
    const Status status = sim->access(write, address, *data, cycles);
    *data = sim->bus.data;
    *response = sim->bus.response;
    return status;
}

// Probabilities of a stall per cycle; seeds are derived from one.
void sim_stalls(Simulator *sim, uint64_t seed, double program, double input, double output, double bus) {
    sim->program.random.seed(4 * seed, program);
    sim->input.random.seed(4 * seed + 1, input);
    sim->output.random.seed(4 * seed + 2, output);
    sim->bus_random.seed(4 * seed + 3, bus);
}

// Queue beats. which: 0 program, 1 input.
void sim_send(Simulator *sim, int which, const uint32_t *data, const uint8_t *last, uint64_t count) {
    Source &source = which ? sim->input : sim->program;
    source.data.insert(source.data.end(), data, data + count);
    source.last.insert(source.last.end(), last, last + count);
}

// Beats of a stream not taken yet; after sim_clear there are none.
uint64_t sim_unsent(Simulator *sim, int which) {
    const Source &source = which ? sim->input : sim->program;
    return source.data.size() - source.at;
}

// Forget what is queued and what was collected, traces too. A beat that is offered at this moment is withdrawn.
void sim_clear(Simulator *sim) {
    for (auto &trace : sim->traces) trace.clear();
    for (auto &cycles : sim->trace_cycles) cycles.clear();
    sim->program.clear();
    sim->input.clear();
    sim->output.clear();
}

int sim_run(Simulator *sim, uint64_t cycles, uint64_t beats) { return sim->run(cycles, beats); }

int sim_run_program(Simulator *sim, uint64_t cycles) {
    for (; cycles && sim->program.at < sim->program.data.size(); --cycles) {
        const int status = sim->run(1, 0);
        if (status != DONE) return status;
    }
    return sim->program.at < sim->program.data.size() ? AGAIN : DONE;
}

uint64_t sim_output_size(Simulator *sim) { return sim->output.data.size(); }

void sim_output(Simulator *sim, uint32_t *data, uint8_t *last, uint64_t *cycles) {
    std::copy(sim->output.data.begin(), sim->output.data.end(), data);
    std::copy(sim->output.last.begin(), sim->output.last.end(), last);
    std::copy(sim->output.cycles.begin(), sim->output.cycles.end(), cycles);
}

// Cycles in which the first beats of input frames were taken.
uint64_t sim_starts_size(Simulator *sim) { return sim->input.starts.size(); }
void sim_starts(Simulator *sim, uint64_t *cycles) {
    std::copy(sim->input.starts.begin(), sim->input.starts.end(), cycles);
}

void sim_tracing(Simulator *sim, int on) { sim->tracing = on; }
uint64_t sim_trace_size(Simulator *sim, int index) { return sim->traces[index].size(); }

// Hand over the 32-bit words of a trace port's records and the cycle of each, and forget them.
void sim_trace(Simulator *sim, int index, uint32_t *words, uint64_t *cycles) {
    std::vector<uint32_t> &trace = sim->traces[index];
    std::vector<uint64_t> &times = sim->trace_cycles[index];
    std::copy(trace.begin(), trace.end(), words);
    std::copy(times.begin(), times.end(), cycles);
    std::vector<uint32_t>().swap(trace);
    std::vector<uint64_t>().swap(times);
}

int sim_waves(Simulator *sim, const char *path) { return sim->open_waves(path); }

}  // extern "C"
#pragma GCC visibility pop
