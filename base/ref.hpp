// Ref<T>: an owned reference to an object that counts its references (get()/put() members).
#pragma once

#include <utility>

namespace base {

template <class T>
class Ref {
  public:
    constexpr Ref() = default;
    /// Takes over a reference that the caller holds already.
    static Ref adopt(T* object) {
        Ref r;
        r.object_ = object;
        return r;
    }
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
        if (this != &other) {
            reset();
            object_ = std::exchange(other.object_, nullptr);
        }
        return *this;
    }
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    ~Ref() { reset(); }

    void reset() {
        if (T* o = std::exchange(object_, nullptr)) o->put();
    }
    /// Gives the reference up to the caller, who owes the put().
    [[nodiscard]] T* release() { return std::exchange(object_, nullptr); }

    T* get() const { return object_; }
    T* operator->() const { return object_; }
    T& operator*() const { return *object_; }
    explicit operator bool() const { return object_ != nullptr; }

  private:
    T* object_ = nullptr;
};

}  // namespace base
