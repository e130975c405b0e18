/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What several commands write to standard output. */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include "columns.h"
#include "sample.h"

/* Takes builder over; one line, or indented. */
void output_json(JsonBuilder *builder, bool pretty);
/* Version, fabric and the selected sessions as pvhcad told them, in an open object. */
void output_sample(JsonBuilder *builder, const struct ctl_sample *sample);
/* Takes columns over. */
void output_columns(struct columns *columns, const char *indent);

/* Texts to be freed: "-" for what is not known. */
char *output_exact(const struct ctl_number *number);
char *output_short(const struct ctl_number *number, bool bytes);
char *output_name(const struct ctl_session *session);

#endif
