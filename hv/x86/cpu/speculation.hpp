// What the processor has to be told so that our defences against speculation hold.
#pragma once

namespace hv::cpu {

/// Has this CPU's LFENCE hold back whatever follows until all before it is done: what
/// base::block_speculation() asks of it. Once on each CPU, with the IDT loaded.
void make_lfence_serialise();

}  // namespace hv::cpu
