// Drives one Verilated top with an AXI master: register bus master, and the memory that the master reads and writes.
//
// Compiled together with the model, sim/harness.h and the generated model.h. Called from sim/board/rtl.py; C interface
// at the end. The memory belongs to the caller.
//
// The memory answers in order and checks what it is asked: bursts are INCR, of whole 64-bit beats, at most 16 of them,
// within 4 KiB, and what is offered stays until it is taken. Faults act on single bursts (struct Fault).

#include "harness.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

enum Response : uint32_t { OKAY = 0, SLVERR = 2, DECERR = 3 };

constexpr uint64_t NEVER = ~0ull;
constexpr uint64_t OUTSTANDING = 8;  // bursts per direction that the memory takes before it has answered the first
constexpr uint64_t READ_LATENCY = 24, WRITE_LATENCY = 12;  // cycles; of the order of a Zynq-7000 HP port's

uint64_t later(uint64_t now, uint64_t wait) { return wait == NEVER ? NEVER : now + wait; }

// What happens to bursts number `first` to `first + count - 1` of those that begin in [low, high), counted from when
// the fault was added. Waits are cycles, NEVER: until faults are cleared. In step with FAULT_FIELDS in sim/board/faults.py.
struct Fault {
    uint64_t reads, writes, low, high, first, count, response, address_wait, data_wait, response_wait, flip, reset;
};
struct Armed { Fault fault; uint64_t seen; };

struct Burst {
    uint64_t address = 0, due = 0, wait = 0, flip = 0;  // due: of the next data beat, or of the response
    uint32_t beats = 0, done = 0, response = OKAY;
};

// One address channel: ready waits for valid, so that an address is known before it is taken.
struct Address {
    bool ready = false, offered = false;
    uint64_t hold = 0;  // not before this cycle
    Burst burst;
};

// What has to stay while valid waits for ready.
struct Held {
    bool waiting = false;
    uint64_t a = 0, b = 0;
};

// What the design's input ports get in a cycle.
struct Inputs {
    bool rst = false, awready = false, wready = false, bvalid = false, arready = false, rvalid = false, rlast = false;
    uint32_t bresp = 0, rresp = 0;
    uint64_t rdata = 0;
    BusPins bus;

    bool operator==(const Inputs &) const = default;
};

struct Simulator : Clocked {
    uint8_t *memory;
    uint64_t base, size, resets = 0;
    Bus bus;
    Inputs inputs, next;
    std::vector<Armed> faults;
    Address ar, aw;
    std::deque<Burst> reads, writes, responses;
    Held held_ar, held_aw, held_w;
    uint64_t counts[4] = {};  // bursts read, beats read, bursts written, beats written

    Simulator(uint8_t *memory, uint64_t base, uint64_t size) : memory(memory), base(base), size(size) {}

    Status broken(const std::string &what) {
        if (problem.empty()) problem = what + " in cycle " + std::to_string(now);
        return BROKEN;
    }

    // One clock cycle.
    Status cycle() {
        next.rst = resets > 0;
        next.bus = bus.pins;
        const bool changed = !(next == inputs) || !now;
        if (changed) drive();
        fall(changed);
        Status status = DONE;
        if (inputs.rst) {
            resets -= resets > 0;
            forget();
        } else {
            if (bus.active) bus.step(model);
            status = step_memory();
        }
        rise();
        if (inputs.rst) stop_message.clear();  // assertions are evaluated during reset too
        return stop_message.empty() ? status : STOPPED;
    }

    void drive() {
        inputs = next;
        model.rst = next.rst;
        Bus::drive(model, next.bus);
        model.m_axi_awready = next.awready;
        model.m_axi_wready = next.wready;
        model.m_axi_bvalid = next.bvalid;
        model.m_axi_bresp = next.bresp;
        model.m_axi_arready = next.arready;
        model.m_axi_rvalid = next.rvalid;
        model.m_axi_rdata = next.rdata;
        model.m_axi_rresp = next.rresp;
        model.m_axi_rlast = next.rlast;
    }

    // A reset of the programmable logic resets its interconnect too.
    void forget() {
        reads.clear(), writes.clear(), responses.clear();
        ar = aw = Address();
        held_ar = held_aw = held_w = Held();
        next.awready = next.wready = next.bvalid = next.arready = next.rvalid = next.rlast = false;
        bus.again();
    }

    // Memory ---------------------------------------------------------------------------------------------------

    // True where what a channel offers changed while it waited.
    static bool changed(Held &held, bool valid, bool ready, uint64_t a, uint64_t b) {
        const bool wrong = held.waiting && (!valid || a != held.a || b != held.b);
        held = {valid && !ready, a, b};
        return wrong;
    }

    Status step_memory() {
        const uint64_t ar_what = model.m_axi_arlen | model.m_axi_arsize << 8 | model.m_axi_arburst << 12;
        const uint64_t aw_what = model.m_axi_awlen | model.m_axi_awsize << 8 | model.m_axi_awburst << 12;
        if (changed(held_ar, model.m_axi_arvalid, inputs.arready, model.m_axi_araddr, ar_what))
            return broken("m_axi_ar changed while it waited for arready");
        if (changed(held_aw, model.m_axi_awvalid, inputs.awready, model.m_axi_awaddr, aw_what))
            return broken("m_axi_aw changed while it waited for awready");
        if (changed(held_w, model.m_axi_wvalid, inputs.wready, model.m_axi_wdata,
                    model.m_axi_wstrb | model.m_axi_wlast << 8))
            return broken("m_axi_w changed while it waited for wready");

        if (inputs.rvalid && model.m_axi_rready) taken();
        if (inputs.wready && model.m_axi_wvalid) {
            const Status status = store();
            if (status != DONE) return status;
        }
        if (inputs.bvalid && model.m_axi_bready) responses.pop_front();

        Status status = address(ar, inputs.arready, model.m_axi_arvalid, model.m_axi_araddr, ar_what, reads, false);
        if (status == DONE)
            status = address(aw, inputs.awready, model.m_axi_awvalid, model.m_axi_awaddr, aw_what, writes, true);
        if (status != DONE) return status;
        next.arready = ar.ready;
        next.awready = aw.ready;

        next.rvalid = !reads.empty() && now >= reads.front().due;
        if (next.rvalid) {
            const Burst &burst = reads.front();
            const uint64_t at = burst.address + 8 * burst.done;
            next.rresp = burst.response != OKAY ? burst.response : inside(at) ? OKAY : DECERR;
            next.rdata = 0xDEADDEADDEADDEADull;
            if (next.rresp == OKAY) std::memcpy(&next.rdata, memory + (at - base), 8);
            if (burst.done == 0) next.rdata ^= burst.flip;
            next.rlast = burst.done + 1 == burst.beats;
        }
        next.wready = !writes.empty() && now >= writes.front().due && responses.size() < OUTSTANDING;
        next.bvalid = !responses.empty() && now >= responses.front().due;
        if (next.bvalid) next.bresp = responses.front().response;
        return DONE;
    }

    bool inside(uint64_t at) const { return at >= base && at + 8 <= base + size; }

    Status address(Address &channel, bool ready, bool valid, uint64_t at, uint64_t what, std::deque<Burst> &queue,
                   bool write) {
        channel.ready = false;
        if (valid && ready) {
            queue.push_back(channel.burst);
            // A wait begins when the address is taken; one that is due earlier than its predecessor waits its turn.
            queue.back().due = later(now, channel.burst.due);
            channel.offered = false;
            ++counts[write ? 2 : 0];
        } else if (valid) {
            if (!channel.offered) {
                const std::string name = write ? "m_axi_aw" : "m_axi_ar";
                Burst burst;
                burst.address = at;
                burst.beats = (what & 0xFF) + 1;
                if ((what >> 8 & 0xF) != 3 || what >> 12 != 1) return broken(name + " is no INCR burst of 64-bit beats");
                if (at % 8) return broken(name + "addr is no multiple of 8");
                if (burst.beats > 16) return broken(name + "len is more than AXI3 allows");
                if (at / 4096 != (at + 8 * burst.beats - 1) / 4096) return broken(name + " crosses a 4 KiB boundary");
                burst.due = write ? 0 : READ_LATENCY;
                burst.wait = WRITE_LATENCY;
                channel.offered = true;
                channel.hold = now;
                apply(channel, burst, write);
                channel.burst = burst;
            }
            channel.ready = now >= channel.hold && queue.size() < OUTSTANDING;
        }
        return DONE;
    }

    static void add(uint64_t &wait, uint64_t more) { wait = wait == NEVER || more == NEVER ? NEVER : wait + more; }

    void apply(Address &channel, Burst &burst, bool write) {
        for (Armed &armed : faults) {
            const Fault &f = armed.fault;
            if (!(write ? f.writes : f.reads) || burst.address < f.low || burst.address >= f.high) continue;
            const uint64_t number = armed.seen++;
            if (number < f.first || (f.count != NEVER && number >= f.first + f.count)) continue;
            if (f.response) burst.response = f.response;
            add(channel.hold, f.address_wait);
            add(burst.due, f.data_wait);
            add(burst.wait, f.response_wait);
            burst.flip ^= f.flip;
            resets = std::max(resets, f.reset);
        }
    }

    void taken() {
        Burst &burst = reads.front();
        ++counts[1];
        if (++burst.done == burst.beats) reads.pop_front();
    }

    Status store() {
        Burst &burst = writes.front();
        const uint64_t at = burst.address + 8 * burst.done;
        const bool last = burst.done + 1 == burst.beats;
        if (static_cast<bool>(model.m_axi_wlast) != last) return broken("m_axi_wlast is on the wrong beat");
        uint64_t data = model.m_axi_wdata;
        if (burst.done == 0) data ^= burst.flip;
        if (!inside(at)) {
            if (burst.response == OKAY) burst.response = DECERR;
        } else if (burst.response == OKAY) {
            for (int byte = 0; byte < 8; ++byte)
                if (model.m_axi_wstrb >> byte & 1) memory[at - base + byte] = data >> 8 * byte;
        }
        ++counts[3];
        if (++burst.done == burst.beats) {
            burst.due = later(now, burst.wait);
            responses.push_back(burst);
            writes.pop_front();
        }
        return DONE;
    }

    bool transferring() const {
        return !reads.empty() || !writes.empty() || !responses.empty() || ar.offered || aw.offered;
    }

    void clear_faults() {
        faults.clear();
        ar.hold = std::min(ar.hold, now);
        aw.hold = std::min(aw.hold, now);
        ar.burst.due = ar.burst.wait = aw.burst.due = aw.burst.wait = 0;
        ar.burst.response = aw.burst.response = OKAY;
        for (auto *queue : {&reads, &writes, &responses})
            for (Burst &burst : *queue) burst.due = std::min(burst.due, now), burst.wait = 0;
    }

    // Called from Python -----------------------------------------------------------------------------------------

    Status run(uint64_t cycles) {
        stopped = &stop_message;
        for (; cycles; --cycles) {
            const Status status = cycle();
            if (status != DONE) return status;
        }
        return DONE;
    }

    Status access(bool write, uint32_t address, uint32_t data, uint64_t cycles) {
        stopped = &stop_message;
        const uint64_t end = now + cycles;
        bus.begin(write, address, data);
        Status status = DONE;
        while (bus.active && status == DONE && now < end) status = cycle();
        const bool late = bus.active;
        bus.end();
        if (status != DONE) return status;
        if (late) return TIMEOUT;
        return now < end ? run(end - now) : DONE;
    }
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

Simulator *board_new(uint8_t *memory, uint64_t base, uint64_t size) { return new Simulator(memory, base, size); }
void board_free(Simulator *sim) { delete sim; }
uint64_t board_now(Simulator *sim) { return sim->now; }
const char *board_problem(Simulator *sim) { return sim->wrong(); }

int board_reset(Simulator *sim, uint64_t cycles) {
    sim->resets = cycles;
    return sim->run(cycles + 1);
}

int board_run(Simulator *sim, uint64_t cycles) { return sim->run(cycles); }

// Takes exactly `cycles` cycles, or fewer where it fails.
int board_access(Simulator *sim, int write, uint32_t address, uint32_t *data, uint32_t *response, uint64_t cycles) {
    const Status status = sim->access(write, address, *data, cycles);
    *data = sim->bus.data;
    *response = sim->bus.response;
    return status;
}

void board_fault(Simulator *sim, const uint64_t *fields) {
    Armed armed = {};
    std::memcpy(&armed.fault, fields, sizeof armed.fault);
    sim->faults.push_back(armed);
}

// Whether bursts are under way on the memory bus, or wait to be taken.
int board_transferring(Simulator *sim) { return sim->transferring(); }

// No more faults, and what they held back goes on.
void board_clear_faults(Simulator *sim) { sim->clear_faults(); }

// Bursts read, beats read, bursts written, beats written.
void board_counts(Simulator *sim, uint64_t *counts) { std::copy(sim->counts, sim->counts + 4, counts); }

int board_waves(Simulator *sim, const char *path) { return sim->open_waves(path); }

}  // extern "C"
#pragma GCC visibility pop
