// Small objects of the hypervisor, in size classes carved from frames. Everything may fail.
#pragma once

#include <new>
#include <utility>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::heap {

/// `bytes` zeroed bytes aligned to 16 (whole cache lines: to one; to a page from kPageSize on);
/// nullptr when out of memory.
void* allocate(size_t bytes);
void release(void* object);  ///< nullptr is fine

/// A new T, or nullptr when out of memory.
template <class T, class... Args>
T* create(Args&&... args) {
    static_assert(alignof(T) <= 16 || (alignof(T) <= 64 && sizeof(T) % 64 == 0));
    void* place = allocate(sizeof(T));
    return place ? ::new (place) T(std::forward<Args>(args)...) : nullptr;
}
template <class T>
void destroy(T* object) {
    if (!object) return;
    object->~T();
    release(object);
}

/// Deletes what it holds; for objects on the way into a structure.
template <class T>
class Owned {
  public:
    Owned() = default;
    explicit Owned(T* object) : object_(object) {}
    Owned(Owned&& o) noexcept : object_(o.release()) {}
    Owned& operator=(Owned&& o) noexcept {
        if (this != &o) {
            destroy(object_);
            object_ = o.release();
        }
        return *this;
    }
    ~Owned() { destroy(object_); }
    T* get() const { return object_; }
    T* operator->() const { return object_; }
    T& operator*() const { return *object_; }
    explicit operator bool() const { return object_; }
    [[nodiscard]] T* release() { return std::exchange(object_, nullptr); }

  private:
    T* object_ = nullptr;
};

/// An array of trivial elements, zeroed.
template <class T>
class OwnedArray {
  public:
    OwnedArray() = default;
    static Result<OwnedArray> create(size_t count) {
        OwnedArray a;
        size_t bytes;
        if (__builtin_mul_overflow(count, sizeof(T), &bytes)) return Errno::kENOMEM;
        if (count && !(a.data_ = static_cast<T*>(allocate(bytes)))) return Errno::kENOMEM;
        a.count_ = count;
        return a;
    }
    OwnedArray(OwnedArray&& o) noexcept
        : data_(std::exchange(o.data_, nullptr)), count_(std::exchange(o.count_, 0)) {}
    OwnedArray& operator=(OwnedArray&& o) noexcept {
        if (this != &o) {
            heap::release(data_);
            data_ = std::exchange(o.data_, nullptr);
            count_ = std::exchange(o.count_, 0);
        }
        return *this;
    }
    ~OwnedArray() { heap::release(data_); }
    T& operator[](size_t i) const { return data_[i]; }
    T* data() const { return data_; }
    size_t size() const { return count_; }

  private:
    T* data_ = nullptr;
    size_t count_ = 0;
};

}  // namespace hv::heap
