// FPU, SSE and AVX state: #NM on the guest's TS, state kept while others run.
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {

struct alignas(32) Vector256 {
    uint64_t word[4];
};
void load_ymm7(const Vector256& v) {
    asm volatile("vmovdqa %0, %%ymm7" ::"m"(v));
}
Vector256 store_ymm7() {
    Vector256 v;
    asm volatile("vmovdqa %%ymm7, %0" : "=m"(v));
    return v;
}
void enable_avx() {
    uint64_t cr4;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    asm volatile("mov %0, %%cr4" ::"r"(cr4 | 1ul << 18 | 1ul << 9 | 1ul << 10));
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
}

}  // namespace

TEST(fpu_taskswitch_nm, "fpu_taskswitch(1): the next FPU instruction is #NM, TS is then clear",
     "") {
    CHECK_EQ(fpu_taskswitch(1), 0);
    const Trap trap = catch_trap([] { asm volatile("fninit"); });
    CHECK(trap.is(kDeviceNotAvailable));
    CHECK(!catch_trap([] { asm volatile("fninit"); }).taken);
    CHECK_EQ(fpu_taskswitch(1), 0);
    CHECK_EQ(fpu_taskswitch(0), 0);
    CHECK(!catch_trap([] { asm volatile("movaps %xmm0, %xmm0"); }).taken);
}

TEST(fpu_kept_over_block, "x87, MXCSR and SSE state survive a block and a wake-up", "") {
    asm volatile("fninit; fld1; fldpi");
    const uint32_t mxcsr = 0x1f80 | 0x6000;
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
    const uint64_t pattern = 0x0123456789abcdef;
    asm volatile("movq %0, %%xmm5" ::"r"(pattern));
    vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + 5'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    sched_poll_t poll = {.nr_ports = 0, .timeout = system_time() + 20'000'000};
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), 0);
    uint64_t seen;
    uint32_t control;
    asm volatile("movq %%xmm5, %0; stmxcsr %1" : "=r"(seen), "=m"(control));
    CHECK_EQ(seen, pattern);
    CHECK_EQ(control, mxcsr);
    alignas(16) unsigned char top[16] = {};
    asm volatile("fstpt (%0); fstp %%st(0)" ::"r"(top) : "memory");
    CHECK_EQ(top[9] << 8 | top[8], 0x4000);  // pi: exponent 1
    const uint32_t usual = 0x1f80;
    asm volatile("ldmxcsr %0" ::"m"(usual));
}

TEST(fpu_avx_per_vcpu, "AVX state of two vCPUs that share one CPU does not mix", "vcpus=2") {
    static volatile unsigned stage;
    static Vector256 other;
    stage = 0;
    enable_avx();
    load_ymm7({{1, 2, 3, 4}});
    start_second_vcpu([] {
        enable_avx();
        load_ymm7({{5, 6, 7, 8}});
        stage = 1;
        for (unsigned i = 0; i < 20; ++i) sched_op(SCHEDOP_yield);
        while (stage != 2) sched_op(SCHEDOP_yield);
        other = store_ymm7();
        stage = 3;
    });
    CHECK(wait_for([] { return stage == 1; }));
    const Vector256 first = store_ymm7();
    load_ymm7({{9, 10, 11, 12}});
    stage = 2;
    CHECK(wait_for([] { return stage == 3; }));
    const Vector256 second = store_ymm7();
    for (unsigned i = 0; i < 4; ++i) {
        CHECK_EQ(first.word[i], i + 1);
        CHECK_EQ(other.word[i], i + 5);
        CHECK_EQ(second.word[i], i + 9);
    }
}

TEST(fpu_x87_exception, "#MF: an unmasked x87 exception reaches the guest", "") {
    const uint16_t control = 0x037b;  // division by zero unmasked
    asm volatile("fninit; fldcw %0" ::"m"(control));
    CHECK(catch_trap([] { asm volatile("fld1; fldz; fdivrp; fwait"); }).is(kX87));
    asm volatile("fninit");
}

TEST(fpu_simd_exception, "#XF: an unmasked SSE exception reaches the guest",
     "skip=QEMU's TCG raises no SSE exceptions") {
    const uint32_t mxcsr = 0x1f80 & ~0x200, usual = 0x1f80;
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
    const Trap trap = catch_trap([] {
        asm volatile(
            "mov $1, %%eax; cvtsi2sd %%eax, %%xmm1; xorps %%xmm2, %%xmm2; divsd %%xmm2, %%xmm1" ::
                : "rax");
    });
    asm volatile("ldmxcsr %0" ::"m"(usual));
    CHECK(trap.is(kSimd));
}

}  // namespace guest
