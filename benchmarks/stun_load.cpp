// Binding requests at full speed: "stun_load PORT SOCKETS OUTSTANDING SECONDS" prints how many were
// answered within how many seconds, how many answers were wrong, and how many requests were lost.
//
// Each socket has a loopback address of its own, so that a server sees as many sources.  Requests of
// 20 bytes leave many at a time (UDP_SEGMENT), so that this program is not what limits.
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

using Clock = std::chrono::steady_clock;
static const int kRequest = 20, kMost = 64, kAnswer = 256;
static const unsigned char kCookie[4] = {0x21, 0x12, 0xa4, 0x42};

struct Source {
  int fd;
  sockaddr_in address;
  int waiting;
  Clock::time_point heard;
};

static void ask(Source &source, int count, unsigned &serial) {
  unsigned char requests[kMost * kRequest];
  for (int i = 0; i < count; i++) {
    unsigned char *each = requests + i * kRequest;
    std::memset(each, 0, kRequest);
    each[1] = 1;
    std::memcpy(each + 4, kCookie, 4);
    serial++;
    std::memcpy(each + 8, &serial, sizeof serial);
  }
  if (send(source.fd, requests, count * kRequest, 0) > 0) source.waiting += count;
}

// Whether an answer tells the address that it came to (XOR-MAPPED-ADDRESS, RFC 8489 section 14.2).
static bool right(const Source &source, const unsigned char *answer, int size) {
  if (size < 32 || answer[0] != 1 || answer[1] != 1 || std::memcmp(answer + 4, kCookie, 4))
    return false;
  int at = 20;
  while (at + 12 <= size) {
    int type = answer[at] << 8 | answer[at + 1], length = answer[at + 2] << 8 | answer[at + 3];
    if (type == 0x0020 && length == 8) {
      unsigned char port[2], host[4];
      std::memcpy(port, &source.address.sin_port, 2);
      std::memcpy(host, &source.address.sin_addr, 4);
      const unsigned char *value = answer + at + 4;
      for (int i = 0; i < 2; i++)
        if ((value[2 + i] ^ kCookie[i]) != port[i]) return false;
      for (int i = 0; i < 4; i++)
        if ((value[4 + i] ^ kCookie[i]) != host[i]) return false;
      return value[1] == 1;
    }
    at += 4 + length + (-length & 3);
  }
  return false;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int count = std::atoi(argv[2]), outstanding = std::atoi(argv[3]);
  double seconds = std::atof(argv[4]);
  if (outstanding > kMost) return 2;
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(std::atoi(argv[1]));
  inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
  int poll = epoll_create1(0);
  std::vector<Source> sources(count);
  unsigned serial = 0;
  for (int i = 0; i < count; i++) {
    Source &source = sources[i];
    source.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(0x7f000100 + 1 + i);
    if (bind(source.fd, (sockaddr *)&own, sizeof own)) return 1;
    if (connect(source.fd, (sockaddr *)&server, sizeof server)) return 1;
    int segment = kRequest;
    if (setsockopt(source.fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment)) return 1;
    socklen_t size = sizeof source.address;
    getsockname(source.fd, (sockaddr *)&source.address, &size);
    source.waiting = 0;
    source.heard = Clock::now();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, source.fd, &event);
    ask(source, outstanding, serial);
  }
  static unsigned char answers[kMost][kAnswer];
  mmsghdr headers[kMost];
  iovec pieces[kMost];
  std::memset(headers, 0, sizeof headers);
  for (int i = 0; i < kMost; i++) {
    pieces[i].iov_base = answers[i];
    pieces[i].iov_len = kAnswer;
    headers[i].msg_hdr.msg_iov = &pieces[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  long long answered = 0, wrong = 0, lost = 0;
  auto warm = Clock::now() + std::chrono::milliseconds(300);
  auto start = warm, end = warm + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds));
  bool counting = false;
  Clock::time_point now = Clock::now(), looked = now;
  while (now < end) {
    epoll_event events[256];
    int ready = epoll_wait(poll, events, 256, 20);
    now = Clock::now();
    if (!counting && now >= warm) {
      counting = true;
      start = now;
      answered = wrong = lost = 0;
    }
    for (int k = 0; k < ready; k++) {
      Source &source = sources[events[k].data.u32];
      int got = recvmmsg(source.fd, headers, kMost, 0, nullptr);
      if (got <= 0) continue;
      for (int i = 0; i < got; i++)
        if (right(source, answers[i], headers[i].msg_len)) answered++; else wrong++;
      source.heard = now;
      source.waiting -= got;
      if (source.waiting < 0) source.waiting = 0;
      ask(source, outstanding - source.waiting, serial);
    }
    if (now - looked > std::chrono::milliseconds(50)) {
      looked = now;
      for (Source &source : sources)
        if (now - source.heard > std::chrono::milliseconds(100)) {
          lost += source.waiting;
          source.waiting = 0;
          source.heard = now;
          ask(source, outstanding, serial);
        }
    }
  }
  std::printf("%lld %.6f %lld %lld\n", answered, std::chrono::duration<double>(now - start).count(), wrong, lost);
  return 0;
}
