// SPDX-License-Identifier: Apache-2.0
// The namespace of an exported library's insides, so that two libraries in one program are strangers.
#pragma once

#ifndef KERNELITES_LIBRARY
#define KERNELITES_LIBRARY kernelites_library
#endif
