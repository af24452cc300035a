// Intrusive doubly linked list: the node lives in the object, so linking cannot fail.
#pragma once

#include <cstddef>
#include <iterator>

namespace base {

/// Derive from ListNode<T> (with a Tag if an object is in several lists) to be linkable.
template <class T, class Tag = void>
class ListNode {
  public:
    constexpr ListNode() = default;
    ListNode(const ListNode&) = delete;
    ListNode& operator=(const ListNode&) = delete;
    bool linked() const { return next_ != nullptr; }

  private:
    template <class U, class V>
    friend class List;
    ListNode* next_ = nullptr;
    ListNode* prev_ = nullptr;
};

template <class T, class Tag = void>
class List {
  public:
    using Node = ListNode<T, Tag>;

    constexpr List() { head_.next_ = head_.prev_ = &head_; }
    bool empty() const { return head_.next_ == &head_; }
    T* front() { return empty() ? nullptr : object(head_.next_); }

    void push_back(T& item) { insert(&head_, &node(item)); }
    void push_front(T& item) { insert(head_.next_, &node(item)); }
    /// Links `item` right before `position`.
    void insert_before(T& position, T& item) { insert(&node(position), &node(item)); }
    void remove(T& item) {
        Node& n = node(item);
        n.prev_->next_ = n.next_;
        n.next_->prev_ = n.prev_;
        n.next_ = n.prev_ = nullptr;
    }
    T* pop_front() {
        T* item = front();
        if (item) remove(*item);
        return item;
    }

    class Iterator {
      public:
        using iterator_category = std::forward_iterator_tag;
        using value_type = T;
        using difference_type = ptrdiff_t;
        using pointer = T*;
        using reference = T&;
        explicit Iterator(Node* n) : at_(n) {}
        T& operator*() const { return *object(at_); }
        T* operator->() const { return object(at_); }
        Iterator& operator++() {
            at_ = next(at_);
            return *this;
        }
        bool operator==(const Iterator&) const = default;

      private:
        Node* at_;
    };
    Iterator begin() { return Iterator(head_.next_); }
    Iterator end() { return Iterator(&head_); }

  private:
    static Node& node(T& item) { return static_cast<Node&>(item); }
    static T* object(Node* n) { return static_cast<T*>(n); }
    static Node* next(Node* n) { return n->next_; }
    static void insert(Node* before, Node* n) {
        n->next_ = before;
        n->prev_ = before->prev_;
        before->prev_->next_ = n;
        before->prev_ = n;
    }

    Node head_;
};

}  // namespace base
