// libudt as an end of the benchmarks of UDT; benchmarks/udt_end.py is ours, with the same command line.
//
// usage: udt_peer [--buffers BYTES] ROLE HOST PORT NUMBER [SECONDS]
//
//   sink HOST PORT FLOWS              takes so many flows, prints "BYTES SECONDS" when all have ended
//   send HOST PORT FLOWS SECONDS      sends as many from one UDP port as fast as it can
//   echo HOST PORT SIZE               sends back what one client says, message by message
//   ping HOST PORT SIZE SECONDS       says it again and again, prints "P50 P99 COUNT", microseconds
//   accept HOST PORT COUNT            takes so many, prints "held"; ends with its standard input
//   dial HOST PORT COUNT              opens as many from one UDP port, likewise
//
// All print "ready" first: once they listen, or once all are connected (dial: before).
#include <arpa/inet.h>
#include <udt/udt.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kBlock = 1 << 18;
int g_buffers = 0;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void say(const char *text) {
  std::puts(text);
  std::fflush(stdout);
}

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "%s: %s\n", what, UDT::getlasterror().getErrorMessage());
  std::exit(1);
}

sockaddr_in address_of(const char *host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

UDTSOCKET make_socket() {
  UDTSOCKET made = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (g_buffers)
    for (UDTOpt option : {UDT_SNDBUF, UDT_RCVBUF, UDP_SNDBUF, UDP_RCVBUF})
      if (UDT::setsockopt(made, 0, option, &g_buffers, sizeof g_buffers) == UDT::ERROR) fail("setsockopt");
  return made;
}

UDTSOCKET listener(const char *host, int port, int backlog) {
  sockaddr_in address = address_of(host, port);
  UDTSOCKET made = make_socket();
  if (UDT::bind(made, (sockaddr *)&address, sizeof address) == UDT::ERROR) fail("bind");
  if (UDT::listen(made, backlog) == UDT::ERROR) fail("listen");
  say("ready");
  return made;
}

UDTSOCKET accepted(UDTSOCKET from) {
  sockaddr_storage other;
  int size = sizeof other;
  UDTSOCKET made = UDT::accept(from, (sockaddr *)&other, &size);
  if (made == UDT::INVALID_SOCK) fail("accept");
  return made;
}

// All from the UDP port that the first one got.
UDTSOCKET connected(const char *host, int port, sockaddr_in &local) {
  sockaddr_in address = address_of(host, port);
  UDTSOCKET made = make_socket();
  if (UDT::bind(made, (sockaddr *)&local, sizeof local) == UDT::ERROR) fail("bind");
  int size = sizeof local;
  UDT::getsockname(made, (sockaddr *)&local, &size);
  // A lost handshake is repeated by libudt; a connect that fails nevertheless is worth another one.
  for (int left = 3; UDT::connect(made, (sockaddr *)&address, sizeof address) == UDT::ERROR;)
    if (!--left) fail("connect");
  return made;
}

sockaddr_in any_port() {
  sockaddr_in local{};
  local.sin_family = AF_INET;
  return local;
}

int sink(const char *host, int port, int flows) {
  UDTSOCKET door = listener(host, port, flows);
  std::mutex guard;
  long long total = 0;
  Clock::time_point first, last;
  std::vector<std::thread> threads;
  for (int i = 0; i < flows; ++i) {
    threads.emplace_back([&, connection = accepted(door)] {
      std::vector<char> buffer(1 << 20);
      long long own = 0;
      Clock::time_point began, ended;
      for (;;) {
        int got = UDT::recv(connection, buffer.data(), (int)buffer.size(), 0);
        if (got <= 0) break;
        ended = Clock::now();
        if (!own) began = ended;
        own += got;
      }
      std::lock_guard<std::mutex> hold(guard);
      if (own) {
        first = total ? std::min(first, began) : began;
        last = std::max(last, ended);
        total += own;
      }
    });
  }
  for (auto &thread : threads) thread.join();
  std::printf("%lld %.6f\n", total, std::chrono::duration<double>(last - first).count());
  return 0;
}

int send(const char *host, int port, int flows, double seconds) {
  sockaddr_in local = any_port();
  std::vector<UDTSOCKET> connections;
  for (int i = 0; i < flows; ++i) connections.push_back(connected(host, port, local));
  say("ready");
  auto start = Clock::now();
  std::vector<std::thread> threads;
  for (UDTSOCKET connection : connections)
    threads.emplace_back([=] {
      std::vector<char> buffer(kBlock, 'x');
      while (since(start) < seconds)
        if (UDT::send(connection, buffer.data(), kBlock, 0) <= 0) break;
      UDT::close(connection);
    });
  for (auto &thread : threads) thread.join();
  return 0;
}

bool exchange(UDTSOCKET connection, std::vector<char> &buffer, int (*call)(UDTSOCKET, char *, int)) {
  for (int done = 0, size = (int)buffer.size(); done < size;) {
    int moved = call(connection, buffer.data() + done, size - done);
    if (moved <= 0) return false;
    done += moved;
  }
  return true;
}

int take(UDTSOCKET connection, char *data, int size) { return UDT::recv(connection, data, size, 0); }
int give(UDTSOCKET connection, char *data, int size) { return UDT::send(connection, data, size, 0); }

int echo(const char *host, int port, int size) {
  UDTSOCKET connection = accepted(listener(host, port, 1));
  std::vector<char> buffer(size);
  while (exchange(connection, buffer, take) && exchange(connection, buffer, give)) continue;
  return 0;
}

int ping(const char *host, int port, int size, double seconds) {
  sockaddr_in local = any_port();
  UDTSOCKET connection = connected(host, port, local);
  say("ready");
  std::vector<char> buffer(size, 'x');
  std::vector<double> took;
  for (auto start = Clock::now(); since(start) < seconds;) {
    auto began = Clock::now();
    if (!exchange(connection, buffer, give) || !exchange(connection, buffer, take)) fail("ping");
    took.push_back(since(began) * 1e6);
  }
  std::sort(took.begin(), took.end());
  std::printf("%.2f %.2f %zu\n", took[took.size() / 2], took[took.size() * 99 / 100], took.size());
  UDT::close(connection);
  return 0;
}

int hold() {
  say("held");
  while (std::getchar() != EOF) continue;
  std::_Exit(0);  // tidying a thousand sockets up takes libudt minutes
}

int accept_all(const char *host, int port, int count) {
  UDTSOCKET door = listener(host, port, count);
  for (int i = 0; i < count; ++i) accepted(door);
  return hold();
}

int dial(const char *host, int port, int count) {
  sockaddr_in local = any_port();
  say("ready");
  for (int i = 0; i < count; ++i) connected(host, port, local);
  return hold();
}

}  // namespace

int main(int argc, char **argv) {
  std::vector<const char *> words(argv + 1, argv + argc);
  if (words.size() >= 2 && !std::strcmp(words[0], "--buffers")) {
    g_buffers = std::atoi(words[1]);
    words.erase(words.begin(), words.begin() + 2);
  }
  if (words.size() < 4) return 2;
  std::string role = words[0];
  const char *host = words[1];
  int port = std::atoi(words[2]), number = std::atoi(words[3]);
  double seconds = words.size() > 4 ? std::atof(words[4]) : 0;
  if (role == "sink") return sink(host, port, number);
  if (role == "send") return send(host, port, number, seconds);
  if (role == "echo") return echo(host, port, number);
  if (role == "ping") return ping(host, port, number, seconds);
  if (role == "accept") return accept_all(host, port, number);
  if (role == "dial") return dial(host, port, number);
  return 2;
}
