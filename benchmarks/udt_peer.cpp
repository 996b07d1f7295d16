// libudt at full speed: "udt_peer sink PORT" prints what arrived; "udt_peer send PORT SECONDS" sends.
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <udt/udt.h>
#include <vector>

using Clock = std::chrono::steady_clock;

static sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  return address;
}

static int sink(int port) {
  sockaddr_in address = loopback(port);
  UDTSOCKET listener = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (UDT::bind(listener, (sockaddr *)&address, sizeof address) == UDT::ERROR) return 1;
  UDT::listen(listener, 1);
  std::puts("ready");
  std::fflush(stdout);
  sockaddr_storage other;
  int size = sizeof other;
  UDTSOCKET connection = UDT::accept(listener, (sockaddr *)&other, &size);
  std::vector<char> buffer(1 << 20);
  long long total = 0;
  Clock::time_point first, last;
  for (;;) {
    int got = UDT::recv(connection, buffer.data(), (int)buffer.size(), 0);
    if (got <= 0) break;
    last = Clock::now();
    if (!total) first = last;
    total += got;
  }
  std::printf("%lld %.6f\n", total, std::chrono::duration<double>(last - first).count());
  return 0;
}

static int send(int port, double seconds) {
  sockaddr_in address = loopback(port);
  UDTSOCKET connection = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (UDT::connect(connection, (sockaddr *)&address, sizeof address) == UDT::ERROR) return 1;
  std::vector<char> buffer(1 << 18, 'x');
  auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end)
    if (UDT::send(connection, buffer.data(), (int)buffer.size(), 0) <= 0) break;
  UDT::close(connection);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !std::strcmp(argv[1], "sink")) return sink(std::atoi(argv[2]));
  if (argc == 4 && !std::strcmp(argv[1], "send")) return send(std::atoi(argv[2]), std::atof(argv[3]));
  return 2;
}
