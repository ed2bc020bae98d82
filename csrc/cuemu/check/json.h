// Enough of JSON to write a report.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace cuemu::check {

inline std::string json(std::uint64_t value) { return std::to_string(value); }
inline std::string json(int value) { return std::to_string(value); }

inline std::string json(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

inline std::string json(const std::string& value) {
  std::string text = "\"";
  for (char c : value) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      text += escaped;
    } else {
      text += c;
    }
  }
  return text + '"';
}

// An object, field by field.
class JsonObject {
 public:
  template <class T>
  JsonObject& field(const char* name, const T& value) {
    return raw(name, json(value));
  }
  JsonObject& raw(const char* name, const std::string& value) {
    text_ += (text_.empty() ? "{" : ", ") + json(std::string(name)) + ": " + value;
    return *this;
  }
  std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

// An array, one element a line.
class JsonArray {
 public:
  void add(const std::string& element) { text_ += (text_.empty() ? "[\n    " : ",\n    ") + element; }
  std::string text() const { return text_.empty() ? "[]" : text_ + "]"; }

 private:
  std::string text_;
};

}  // namespace cuemu::check
