/* A stand-in for libnvidia-ml.so.1: its devices, their processes and all that goes wrong are in a text file, named by
 * GFLOW_NVML_STUB and read again at every call. Without one there is no driver.
 *
 *     device INDEX UUID TOTAL USED RESERVED UTILISATION MIG NAME...    bytes; percent, -1: not supported; MIG 0, 1, -1
 *     compute INDEX PID BYTES        a process that computes; -1 bytes: not available
 *     graphics INDEX PID BYTES       one that draws
 *     mps INDEX PID BYTES            one that computes through MPS
 *     fail FUNCTION INDEX CODE       the call gives this code; FUNCTION *: every call about a device; INDEX -1: any
 *     hang FUNCTION INDEX            the call does not come back while the file says so
 *
 * Functions are named as exported, but for nvmlInit, which stands for all of its versions. Symbols, codes and layouts are
 * those of nvml.h, so that any program which loads the library by name can be tested with it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUCCESS 0
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define DRIVER_NOT_LOADED 9
#define ARGUMENT_VERSION_MISMATCH 25

#define ANY (-1)
#define LINE 512
#define PAUSE_MICROSECONDS 5000

typedef int nvmlReturn_t;
typedef void *nvmlDevice_t;
typedef unsigned long long bytes_t;

typedef struct { bytes_t total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; bytes_t total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned pid; bytes_t usedGpuMemory; } nvmlProcessInfo_v1_t;
typedef struct { unsigned pid; bytes_t usedGpuMemory; unsigned gpuInstanceId, computeInstanceId; } nvmlProcessInfo_t;

struct device {
    char uuid[96], name[96];
    bytes_t total, used, reserved;
    int utilisation, mig;
};

static int sessions;

static FILE *control(void)
{
    const char *path = getenv("GFLOW_NVML_STUB");
    return path ? fopen(path, "r") : NULL;
}

static int matches(const char *wanted, const char *function, int wanted_index, int index)
{
    int any_call = strcmp(wanted, "*") == 0 && index != ANY;
    return (any_call || strcmp(wanted, function) == 0) && (wanted_index == ANY || wanted_index == index);
}

/* What the file says about a call: a code to fail with, and whether to hang. DRIVER_NOT_LOADED without a file. */
static nvmlReturn_t verdict(const char *function, int index, int *hang)
{
    char line[LINE], wanted[LINE];
    int wanted_index, code, outcome = SUCCESS;
    FILE *file = control();

    *hang = 0;
    if (!file)
        return DRIVER_NOT_LOADED;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "fail %511s %d %d", wanted, &wanted_index, &code) == 3) {
            if (matches(wanted, function, wanted_index, index))
                outcome = code;
        } else if (sscanf(line, "hang %511s %d", wanted, &wanted_index) == 2) {
            *hang |= matches(wanted, function, wanted_index, index);
        }
    }
    fclose(file);
    return outcome;
}

static nvmlReturn_t enter(const char *function, int index)
{
    int hang;
    nvmlReturn_t code;

    if (sessions == 0 && strcmp(function, "nvmlInit") != 0)
        return UNINITIALIZED;
    while (code = verdict(function, index, &hang), hang)
        usleep(PAUSE_MICROSECONDS);
    return code;
}

static int find_device(int index, struct device *device)
{
    char line[LINE];
    int found = 0, at;
    FILE *file = control();

    while (file && !found && fgets(line, sizeof line, file)) {
        memset(device, 0, sizeof *device);
        found = sscanf(line, "device %d %95s %llu %llu %llu %d %d %95[^\n]", &at, device->uuid, &device->total,
                       &device->used, &device->reserved, &device->utilisation, &device->mig, device->name) >= 7
                && at == index;
    }
    if (file)
        fclose(file);
    return found;
}

static int index_of(nvmlDevice_t device) { return (int)(size_t)device - 1; }

/* The checks every call about a device begins with. */
static nvmlReturn_t about(const char *function, nvmlDevice_t handle, struct device *device)
{
    nvmlReturn_t code = enter(function, index_of(handle));

    if (code != SUCCESS)
        return code;
    return find_device(index_of(handle), device) ? SUCCESS : INVALID_ARGUMENT;
}

static nvmlReturn_t copy(char *to, unsigned length, const char *text)
{
    if (strlen(text) >= length)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

/* Fills at most *count entries of `size` bytes; without room for all only tells how many there are. */
static nvmlReturn_t list(const char *function, nvmlDevice_t handle, const char *kind, unsigned *count, void *entries,
                         size_t size)
{
    struct device device;
    char line[LINE], word[LINE];
    unsigned pid, found = 0, room = *count;
    int at;
    bytes_t used;
    FILE *file;
    nvmlReturn_t code = about(function, handle, &device);

    if (code != SUCCESS)
        return code;
    file = control();
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%511s %d %u %llu", word, &at, &pid, &used) != 4 || strcmp(word, kind) != 0
            || at != index_of(handle))
            continue;
        if (entries && found < room) {
            nvmlProcessInfo_t one = {pid, used, ~0u, ~0u};
            memcpy((char *)entries + found * size, &one, size);
        }
        found++;
    }
    if (file)
        fclose(file);
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

/* -- what programs call ------------------------------------------------------------------------------------------- */

static nvmlReturn_t init(void)
{
    nvmlReturn_t code = enter("nvmlInit", ANY);

    sessions += code == SUCCESS;
    return code;
}

nvmlReturn_t nvmlInit(void) { return init(); }
nvmlReturn_t nvmlInit_v2(void) { return init(); }
nvmlReturn_t nvmlInitWithFlags(unsigned flags) { (void)flags; return init(); }

nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t code = enter("nvmlShutdown", ANY);

    sessions -= sessions > 0;
    return code;
}

const char *nvmlErrorString(nvmlReturn_t code)
{
    static char text[32];

    snprintf(text, sizeof text, "stub error %d", code);
    return text;
}

static nvmlReturn_t version(const char *function, char *text, unsigned length)
{
    nvmlReturn_t code = enter(function, ANY);

    return code == SUCCESS ? copy(text, length, "550.54.15") : code;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned length)
{
    return version("nvmlSystemGetDriverVersion", text, length);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *text, unsigned length)
{
    return version("nvmlSystemGetNVMLVersion", text, length);
}

static nvmlReturn_t count_devices(const char *function, unsigned *count)
{
    struct device device;
    nvmlReturn_t code = enter(function, ANY);

    for (*count = 0; code == SUCCESS && find_device((int)*count, &device);)
        ++*count;
    return code;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned *count) { return count_devices("nvmlDeviceGetCount", count); }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) { return count_devices("nvmlDeviceGetCount_v2", count); }

static nvmlReturn_t handle_of(const char *function, int index, nvmlDevice_t *handle)
{
    struct device device;
    nvmlReturn_t code;

    *handle = (nvmlDevice_t)(size_t)(index + 1);
    code = about(function, *handle, &device);
    return code;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *handle)
{
    return handle_of("nvmlDeviceGetHandleByIndex", (int)index, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *handle)
{
    return handle_of("nvmlDeviceGetHandleByIndex_v2", (int)index, handle);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *handle)
{
    struct device device;

    for (int index = 0; find_device(index, &device); index++)
        if (strcmp(device.uuid, uuid) == 0)
            return handle_of("nvmlDeviceGetHandleByUUID", index, handle);
    return sessions ? NOT_FOUND : UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned *index)
{
    struct device device;

    *index = (unsigned)index_of(handle);
    return about("nvmlDeviceGetIndex", handle, &device);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned length)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetUUID", handle, &device);

    return code == SUCCESS ? copy(uuid, length, device.uuid) : code;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned length)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetName", handle, &device);

    return code == SUCCESS ? copy(name, length, device.name) : code;
}

/* What is reserved counts as used in the first version, and by itself in the second. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetMemoryInfo", handle, &device);

    if (code != SUCCESS)
        return code;
    memory->total = device.total;
    memory->used = device.used + device.reserved;
    memory->free = device.total - memory->used;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetMemoryInfo_v2", handle, &device);

    if (code != SUCCESS)
        return code;
    if (memory->version != (sizeof *memory | 2u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    memory->total = device.total;
    memory->used = device.used;
    memory->reserved = device.reserved;
    memory->free = device.total - device.used - device.reserved;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetUtilizationRates", handle, &device);

    if (code != SUCCESS)
        return code;
    rates->gpu = rates->memory = (unsigned)device.utilisation;
    return device.utilisation < 0 ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, unsigned *current, unsigned *pending)
{
    struct device device;
    nvmlReturn_t code = about("nvmlDeviceGetMigMode", handle, &device);

    if (code != SUCCESS)
        return code;
    *current = *pending = (unsigned)device.mig;
    return device.mig < 0 ? NOT_SUPPORTED : SUCCESS;
}

#define LISTING(name, kind, entry)                                                                                     \
    nvmlReturn_t name(nvmlDevice_t handle, unsigned *count, entry *entries)                                            \
    {                                                                                                                  \
        return list(#name, handle, kind, count, entries, sizeof *entries);                                             \
    }

LISTING(nvmlDeviceGetComputeRunningProcesses, "compute", nvmlProcessInfo_v1_t)
LISTING(nvmlDeviceGetComputeRunningProcesses_v2, "compute", nvmlProcessInfo_t)
LISTING(nvmlDeviceGetComputeRunningProcesses_v3, "compute", nvmlProcessInfo_t)
LISTING(nvmlDeviceGetGraphicsRunningProcesses, "graphics", nvmlProcessInfo_v1_t)
LISTING(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics", nvmlProcessInfo_t)
LISTING(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", nvmlProcessInfo_t)
LISTING(nvmlDeviceGetMPSComputeRunningProcesses, "mps", nvmlProcessInfo_v1_t)
LISTING(nvmlDeviceGetMPSComputeRunningProcesses_v2, "mps", nvmlProcessInfo_t)
LISTING(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", nvmlProcessInfo_t)
