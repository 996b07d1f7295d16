// A link with delay, jitter and loss: carries IP packets between two TUN devices in two network namespaces.
//
// usage: forwarder NAMESPACE DEVICE NAMESPACE DEVICE SEED
//
// Each line on standard input, "DELAY_MICROSECONDS LOSS_PER_MILLION JITTER_MICROSECONDS", sets what
// happens to packets that arrive from then on, in both directions, and is answered by one line
// "FORWARDED LOST FULL": how many packets were carried, lost on purpose, and dropped because the queue
// was full.  Each packet takes the delay and a random part of the jitter, so that packets overtake each
// other; without jitter they keep their order.
// The end of standard input ends the program.  It asks for real-time priority, because a link must
// not be late just because its ends are busy.

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t kLargestPacket = 65536;
constexpr size_t kQueueBytes = 64u << 20;  // a direction's; 1 s at 500 Mbit/s
constexpr int kBatch = 64;                 // packets read from a side before the others' turn
constexpr int64_t kSecond = 1000000000;

struct Direction {
    int from;
    int to;
    std::multimap<int64_t, std::vector<unsigned char>> queue;  // by when each is due
    size_t queued_bytes = 0;
};

struct Counts {
    uint64_t forwarded = 0, lost = 0, full = 0;
};

[[noreturn]] void fail(const char* what) {
    perror(what);
    exit(1);
}

int64_t monotonic() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * kSecond + t.tv_nsec;
}

// Makes a TUN device inside a namespace; this process stays in there.
int open_tun(const std::string& name_space, const char* device) {
    int ns = open(("/run/netns/" + name_space).c_str(), O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail(name_space.c_str());
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) fail("/dev/net/tun");
    ifreq request{};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) fail(device);
    return fd;
}

void take_in(Direction& direction, int64_t delay, uint64_t loss, int64_t jitter,
             std::mt19937_64& random, Counts& counts) {
    static unsigned char buffer[kLargestPacket];
    for (int i = 0; i < kBatch; ++i) {
        ssize_t size = read(direction.from, buffer, sizeof buffer);
        if (size <= 0) return;
        if (loss && random() % 1000000 < loss) {
            ++counts.lost;
        } else if (direction.queued_bytes + size > kQueueBytes) {
            ++counts.full;
        } else {
            int64_t more = jitter ? random() % jitter : 0;
            direction.queue.emplace(monotonic() + delay + more,
                                    std::vector<unsigned char>(buffer, buffer + size));
            direction.queued_bytes += size;
        }
    }
}

void hand_out(Direction& direction, Counts& counts) {
    while (!direction.queue.empty() && direction.queue.begin()->first <= monotonic()) {
        const auto& packet = direction.queue.begin()->second;
        // The far device may be down for a moment; an IP link may lose a packet then.
        if (write(direction.to, packet.data(), packet.size()) >= 0) ++counts.forwarded;
        direction.queued_bytes -= packet.size();
        direction.queue.erase(direction.queue.begin());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: %s NAMESPACE DEVICE NAMESPACE DEVICE SEED\n", argv[0]);
        return 2;
    }
    int a = open_tun(argv[1], argv[2]);
    int b = open_tun(argv[3], argv[4]);
    std::mt19937_64 random(strtoull(argv[5], nullptr, 10));
    prctl(PR_SET_TIMERSLACK, 1);
    sched_param priority{};
    priority.sched_priority = 10;
    sched_setscheduler(0, SCHED_RR, &priority);  // best effort: it may not be allowed

    Direction directions[] = {{a, b, {}, 0}, {b, a, {}, 0}};
    Counts counts;
    int64_t delay = 0, jitter = 0;
    uint64_t loss = 0;
    std::string line;

    puts("ready");
    fflush(stdout);
    for (;;) {
        int64_t next = INT64_MAX;
        for (auto& direction : directions)
            if (!direction.queue.empty()) next = std::min(next, direction.queue.begin()->first);
        int64_t wait = next == INT64_MAX ? kSecond : std::max<int64_t>(0, next - monotonic());
        timespec timeout{wait / kSecond, wait % kSecond};
        pollfd ready[] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        ppoll(ready, 3, &timeout, nullptr);

        if (ready[2].revents) {
            char text[256];
            ssize_t size = read(STDIN_FILENO, text, sizeof text);
            if (size <= 0) return 0;
            for (ssize_t i = 0; i < size; ++i) {
                if (text[i] != '\n') {
                    line += text[i];
                    continue;
                }
                unsigned long long waiting = 0, per_million = 0, varying = 0;
                if (sscanf(line.c_str(), "%llu %llu %llu", &waiting, &per_million, &varying) == 3) {
                    delay = waiting * 1000;
                    loss = per_million;
                    jitter = varying * 1000;
                }
                line.clear();
                printf("%llu %llu %llu\n", (unsigned long long)counts.forwarded,
                       (unsigned long long)counts.lost, (unsigned long long)counts.full);
                fflush(stdout);
            }
        }
        for (int i = 0; i < 2; ++i)
            if (ready[i].revents & POLLIN) take_in(directions[i], delay, loss, jitter, random, counts);
        for (auto& direction : directions) hand_out(direction, counts);
    }
}
