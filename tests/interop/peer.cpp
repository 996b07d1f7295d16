// A peer made of the real libudt, driven by the tests beside it.
//
//   peer connect    IP PORT LOCAL_PORT RECEIVE first|last
//   peer listen     IP PORT RECEIVE first|last
//   peer rendezvous IP PORT LOCAL_IP LOCAL_PORT RECEIVE first|last
//   peer echo       IP PORT
//   peer swarm      IP PORT LOCAL_PORT COUNT BYTES
//
// The first three carry stdin to the connection and the connection to stdout.  "first" closes the
// connection after stdin has been sent and RECEIVE bytes have come, "last" waits for the other
// end to close.  "echo" serves until it is killed.  "swarm" makes COUNT connections from one UDP
// port, sends BYTES along each, and wants them back.  What happens is told on stderr.

#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <udt/udt.h>
#include <unistd.h>
#include <vector>

static void fail(const char *what) {
  std::cerr << "error " << what << " " << UDT::getlasterror().getErrorCode() << " "
            << UDT::getlasterror().getErrorMessage() << std::endl;
  _exit(3);
}

struct Address {
  sockaddr_storage storage{};
  int size = 0;
  int family = AF_INET;
  Address(const std::string &ip, int port) {
    if (ip.find(':') != std::string::npos) {
      auto *six = reinterpret_cast<sockaddr_in6 *>(&storage);
      family = six->sin6_family = AF_INET6;
      six->sin6_port = htons(port);
      inet_pton(AF_INET6, ip.c_str(), &six->sin6_addr);
      size = sizeof *six;
    } else {
      auto *four = reinterpret_cast<sockaddr_in *>(&storage);
      family = four->sin_family = AF_INET;
      four->sin_port = htons(port);
      inet_pton(AF_INET, ip.c_str(), &four->sin_addr);
      size = sizeof *four;
    }
  }
  sockaddr *get() { return reinterpret_cast<sockaddr *>(&storage); }
};

static UDTSOCKET open_socket(Address &local, bool rendezvous) {
  UDTSOCKET s = UDT::socket(local.family, SOCK_STREAM, 0);
  int mss = local.family == AF_INET6 ? 1480 : 1500;
  UDT::setsockopt(s, 0, UDT_MSS, &mss, sizeof mss);
  if (rendezvous) {
    bool yes = true;
    UDT::setsockopt(s, 0, UDT_RENDEZVOUS, &yes, sizeof yes);
  }
  if (UDT::bind(s, local.get(), local.size) == UDT::ERROR) fail("bind");
  return s;
}

static bool send_all(UDTSOCKET s, const char *data, int size) {
  while (size > 0) {
    int sent = UDT::send(s, data, size, 0);
    if (sent == UDT::ERROR) return false;
    data += sent;
    size -= sent;
  }
  return true;
}

static void carry(UDTSOCKET s, long wanted, bool first) {
  std::thread sender([s] {
    static char buffer[65536];
    ssize_t got;
    while ((got = read(0, buffer, sizeof buffer)) > 0)
      if (!send_all(s, buffer, got)) break;
  });
  long received = 0;
  static char buffer[65536];
  while (!first || received < wanted) {
    int got = UDT::recv(s, buffer, sizeof buffer, 0);
    if (got == UDT::ERROR) break;
    received += got;
    for (int done = 0; done < got;) {
      ssize_t put = write(1, buffer + done, got - done);
      if (put <= 0) fail("stdout");
      done += put;
    }
  }
  std::cerr << "received " << received << std::endl;
  sender.join();
  UDT::close(s);
  std::cerr << "closed" << std::endl;
}

static void echo(UDTSOCKET s) {
  std::vector<char> buffer(65536);
  for (;;) {
    int got = UDT::recv(s, buffer.data(), buffer.size(), 0);
    if (got == UDT::ERROR || !send_all(s, buffer.data(), got)) break;
  }
  UDT::close(s);
  std::cerr << "closed" << std::endl;
}

static UDTSOCKET listen_on(Address &local) {
  UDTSOCKET s = open_socket(local, false);
  if (UDT::listen(s, 64) == UDT::ERROR) fail("listen");
  std::cerr << "listening" << std::endl;
  return s;
}

static void connect_to(UDTSOCKET s, Address &remote) {
  auto begin = std::chrono::steady_clock::now();
  if (UDT::connect(s, remote.get(), remote.size) == UDT::ERROR) fail("connect");
  auto took = std::chrono::steady_clock::now() - begin;
  std::cerr << "connected "
            << std::chrono::duration_cast<std::chrono::microseconds>(took).count() << std::endl;
}

static void swarm(Address &remote, Address &local, int count, int bytes) {
  std::vector<std::thread> threads;
  for (int k = 0; k < count; k++) {
    UDTSOCKET s = open_socket(local, false);
    connect_to(s, remote);
    threads.emplace_back([s, k, bytes] {
      std::string out(bytes, 'a' + k), in;
      if (!send_all(s, out.data(), bytes)) fail("send");
      std::vector<char> buffer(65536);
      while (in.size() < out.size()) {
        int got = UDT::recv(s, buffer.data(), buffer.size(), 0);
        if (got == UDT::ERROR) fail("recv");
        in.append(buffer.data(), got);
      }
      if (in != out) fail("compare");
      UDT::close(s);
    });
  }
  for (auto &thread : threads) thread.join();
  std::cerr << "same " << count << std::endl;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  UDT::startup();
  std::string mode = argv[1];
  Address given(argv[2], atoi(argv[3]));
  const char *any = given.family == AF_INET6 ? "::" : "0.0.0.0";
  if (mode == "connect") {
    Address local(any, atoi(argv[4]));
    UDTSOCKET s = open_socket(local, false);
    connect_to(s, given);
    carry(s, atol(argv[5]), !strcmp(argv[6], "first"));
  } else if (mode == "listen") {
    UDTSOCKET l = listen_on(given);
    UDTSOCKET s = UDT::accept(l, nullptr, nullptr);
    if (s == UDT::INVALID_SOCK) fail("accept");
    std::cerr << "connected 0" << std::endl;
    carry(s, atol(argv[4]), !strcmp(argv[5], "first"));
    UDT::close(l);
  } else if (mode == "rendezvous") {
    Address local(argv[4], atoi(argv[5]));
    UDTSOCKET s = open_socket(local, true);
    connect_to(s, given);
    carry(s, atol(argv[6]), !strcmp(argv[7], "first"));
  } else if (mode == "echo") {
    UDTSOCKET l = listen_on(given);
    for (;;) {
      UDTSOCKET s = UDT::accept(l, nullptr, nullptr);
      if (s == UDT::INVALID_SOCK) fail("accept");
      std::thread(echo, s).detach();
    }
  } else if (mode == "swarm") {
    Address local(any, atoi(argv[4]));
    swarm(given, local, atoi(argv[5]), atoi(argv[6]));
  }
  UDT::cleanup();
  return 0;
}
