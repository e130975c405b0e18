// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Packets of the adapter's own network interface: a QP of the driver's context, whose
 * sends and receives are IP packets (PVHCA_QPT_NET). It exists while there is a session
 * and the interface is up.
 *
 * Sends that are short stand in their entry, and only every 32nd of them has a
 * completion. All others have one, which frees the packet. One CQ takes completions of
 * both kinds; it asks for an event only when NAPI has found it empty. The queue stops
 * when it is full, and wakes when half of it is free.
 *
 * A receive is never missing: where there is no memory for a new buffer, the packet is
 * dropped and its buffer posted again. pvhcad sees what is posted without being told.
 *
 * A packet of TCP may stand for several (PVHCA_FEATURE_NET_TSO). So a receive has pages
 * behind its buffer, which has the length of the MTU. Only such packets fill them, and
 * only those pages that are filled are given away.
 *
 * The addresses of Ethernet mean nothing here. Packets are sent without the header, and
 * those received get one.
 */

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "pvhca.h"

#define PVHCA_NETQ_TX	  256 /* a power of two, as the next */
#define PVHCA_NETQ_RX	  256
#define PVHCA_NETQ_SIGNAL 32
#define PVHCA_NETQ_WC	  16
/* With these, an entry of the send queue takes 256 bytes. */
#define PVHCA_NETQ_SGE	  14
#define PVHCA_NETQ_INLINE 224
/* Of a receive, for a packet that stands for several. */
#define PVHCA_NETQ_PAGES DIV_ROUND_UP(PVHCA_NETQ_MAX_TSO, PAGE_SIZE)
/* Received packets up to this are copied, and their buffer is posted again. */
#define PVHCA_NETQ_COPY 256
/* Before the packet in a buffer: also for the header of Ethernet. */
#define PVHCA_NETQ_HEADROOM ALIGN(NET_SKB_PAD + NET_IP_ALIGN + ETH_HLEN, 16)

/* Bit of ib_wc.wr_id: a receive; the others are the place in its queue. */
#define PVHCA_NETQ_WR_RX BIT_ULL(32)

static_assert(PVHCA_NETQ_SGE <= PVHCA_NET_MAX_SGE);
static_assert(1 + PVHCA_NETQ_PAGES <= PVHCA_NET_MAX_SGE);

/**
 * struct pvhca_netq_tx - a packet in the send queue
 * @skb: the packet; NULL: it stands in its entry
 * @dma: of its linear part, then of its fragments
 */
struct pvhca_netq_tx {
	struct sk_buff *skb;
	dma_addr_t dma[PVHCA_NETQ_SGE];
};

/**
 * struct pvhca_netq_page - a page of a receive
 * @page: the page
 * @dma: of all of it
 */
struct pvhca_netq_page {
	struct page *page;
	dma_addr_t dma;
};

/**
 * struct pvhca_netq_rx - a posted receive
 * @data: buffer; NULL: there is none
 * @dma: of the place for the packet
 * @pages: behind it; as many as struct pvhca_netq has
 */
struct pvhca_netq_rx {
	void *data;
	dma_addr_t dma;
	struct pvhca_netq_page pages[PVHCA_NETQ_PAGES];
};

/**
 * struct pvhca_netq_refill - receives that are to be posted
 * @wr: chain of them
 * @sge: of each
 * @count: number of them
 */
struct pvhca_netq_refill {
	struct ib_recv_wr wr[PVHCA_NETQ_WC];
	struct ib_sge sge[PVHCA_NETQ_WC][1 + PVHCA_NETQ_PAGES];
	unsigned int count;
};

/**
 * struct pvhca_netq - queues of the interface
 * @dev: session
 * @netdev: the interface
 * @pd: protection domain
 * @cq: of both queues
 * @qp: the queues
 * @napi: polls @cq
 * @mtu: length of receives, without their pages
 * @rx_pages: of each receive
 * @buf_size: bytes of a receive's buffer
 * @tx_head: next packet to be sent, free running; under netif_tx_lock()
 * @tx_tail: packets below are done; NAPI's
 * @tx: packets by place in the send queue
 * @rx: receives by number, which is their wr_id
 * @wc: room for polling; NAPI's
 * @refill: room for posting; NAPI's
 */
struct pvhca_netq {
	struct pvhca_dev *dev;
	struct net_device *netdev;
	struct ib_pd *pd;
	struct ib_cq *cq;
	struct ib_qp *qp;
	struct napi_struct napi;
	u32 mtu;
	u32 rx_pages;
	u32 buf_size;
	u32 tx_head;
	u32 tx_tail ____cacheline_aligned_in_smp;
	struct pvhca_netq_tx tx[PVHCA_NETQ_TX];
	struct pvhca_netq_rx rx[PVHCA_NETQ_RX];
	struct ib_wc wc[PVHCA_NETQ_WC];
	struct pvhca_netq_refill refill;
};

static struct device *pvhca_netq_dma_device(const struct pvhca_netq *q)
{
	return pvhca_to_dma_device(q->dev);
}

/* ----------------------------------- send ---------------------------------- */

static u32 pvhca_netq_tx_room(const struct pvhca_netq *q)
{
	return PVHCA_NETQ_TX - (q->tx_head - smp_load_acquire(&q->tx_tail));
}

static void pvhca_netq_unmap(struct pvhca_netq *q, const struct pvhca_netq_tx *tx, int frags)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	int i;

	dma_unmap_single(dma_dev, tx->dma[0], skb_headlen(tx->skb), DMA_TO_DEVICE);
	for (i = 0; i < frags; i++)
		dma_unmap_page(dma_dev, tx->dma[1 + i],
			       skb_frag_size(&skb_shinfo(tx->skb)->frags[i]), DMA_TO_DEVICE);
}

/* Map the packet of tx; returns the number of SGEs or a negative errno. */
static int pvhca_netq_map(struct pvhca_netq *q, struct pvhca_netq_tx *tx, struct ib_sge *sge)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	struct sk_buff *skb = tx->skb;
	int i;

	tx->dma[0] = dma_map_single(dma_dev, skb->data, skb_headlen(skb), DMA_TO_DEVICE);
	if (dma_mapping_error(dma_dev, tx->dma[0]))
		return -ENOMEM;
	sge[0] = (struct ib_sge){ tx->dma[0], skb_headlen(skb), PVHCA_LKEY_DMA };
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		tx->dma[1 + i] =
			skb_frag_dma_map(dma_dev, frag, 0, skb_frag_size(frag), DMA_TO_DEVICE);
		if (dma_mapping_error(dma_dev, tx->dma[1 + i])) {
			pvhca_netq_unmap(q, tx, i);
			return -ENOMEM;
		}
		sge[1 + i] = (struct ib_sge){ tx->dma[1 + i], skb_frag_size(frag), PVHCA_LKEY_DMA };
	}
	return 1 + i;
}

/* Where the checksum is to be filled in: struct pvhca_sq_wqe.remote_qpn. */
static u32 pvhca_netq_checksum(const struct sk_buff *skb)
{
	if (skb->ip_summed != CHECKSUM_PARTIAL)
		return 0;
	return skb_checksum_start_offset(skb) | (u32)skb->csum_offset << 16;
}

/**
 * pvhca_netq_can_segment - can pvhcad cut a packet that stands for several?
 * @skb: packet behind a header of Ethernet
 *
 * It is of TCP, as the features of the interface have it. pvhcad looks for TCP right
 * behind the header of IP.
 */
bool pvhca_netq_can_segment(const struct sk_buff *skb)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);

	if (shinfo->gso_size < PVHCA_NET_MIN_SEGMENT || skb->encapsulation ||
	    skb->len - ETH_HLEN > PVHCA_NETQ_MAX_TSO || shinfo->nr_frags >= PVHCA_NETQ_SGE)
		return false;
	return skb->protocol == htons(ETH_P_IP) ||
		(skb->protocol == htons(ETH_P_IPV6) && ipv6_hdr(skb)->nexthdr == IPPROTO_TCP);
}

/* A short packet, copied into the entry. */
static int pvhca_netq_send_inline(struct pvhca_netq *q, struct sk_buff *skb)
{
	u8 data[PVHCA_NETQ_INLINE];
	struct ib_sge sge = { .addr = (uintptr_t)data, .length = skb->len };
	struct ib_ud_wr wr = {
		.wr.wr_id = q->tx_head,
		.wr.sg_list = &sge,
		.wr.num_sge = 1,
		.wr.opcode = IB_WR_SEND,
		.wr.send_flags = IB_SEND_INLINE,
		.remote_qpn = pvhca_netq_checksum(skb),
	};
	int err;

	if (q->tx_head % PVHCA_NETQ_SIGNAL == 0)
		wr.wr.send_flags |= IB_SEND_SIGNALED;
	err = skb_copy_bits(skb, 0, data, skb->len);
	if (err)
		return err;
	q->tx[q->tx_head % PVHCA_NETQ_TX].skb = NULL;
	err = ib_post_send(q->qp, &wr.wr, NULL);
	if (!err)
		dev_consume_skb_any(skb);
	return err;
}

static int pvhca_netq_send_mapped(struct pvhca_netq *q, struct sk_buff *skb)
{
	struct pvhca_netq_tx *tx = &q->tx[q->tx_head % PVHCA_NETQ_TX];
	struct ib_sge sge[PVHCA_NETQ_SGE];
	struct ib_ud_wr wr = {
		.wr.wr_id = q->tx_head,
		.wr.sg_list = sge,
		.wr.opcode = IB_WR_SEND,
		.wr.send_flags = IB_SEND_SIGNALED,
		.remote_qpn = pvhca_netq_checksum(skb),
		/* Of a packet that stands for several; else it is 0. */
		.remote_qkey = skb_shinfo(skb)->gso_size,
	};
	int err;

	if (skb_shinfo(skb)->nr_frags >= PVHCA_NETQ_SGE && skb_linearize(skb))
		return -ENOMEM;
	tx->skb = skb;
	wr.wr.num_sge = pvhca_netq_map(q, tx, sge);
	if (wr.wr.num_sge < 0)
		return wr.wr.num_sge;
	err = ib_post_send(q->qp, &wr.wr, NULL);
	if (err)
		pvhca_netq_unmap(q, tx, skb_shinfo(skb)->nr_frags);
	return err;
}

/**
 * pvhca_netq_xmit - send a packet
 * @q: queues
 * @skb: IP packet behind a header of Ethernet; it is used up
 *
 * Context: netif_tx_lock() held.
 */
void pvhca_netq_xmit(struct pvhca_netq *q, struct sk_buff *skb)
{
	struct net_device *netdev = q->netdev;
	unsigned int len;
	int err;

	skb_pull(skb, ETH_HLEN);
	len = skb->len;
	if (len <= PVHCA_NETQ_INLINE)
		err = pvhca_netq_send_inline(q, skb);
	else
		err = pvhca_netq_send_mapped(q, skb);
	if (unlikely(err)) {
		netdev->stats.tx_errors++;
		dev_kfree_skb_any(skb);
		return;
	}
	netdev->stats.tx_packets++;
	netdev->stats.tx_bytes += len;
	q->tx_head++;
	if (pvhca_netq_tx_room(q))
		return;
	netif_stop_queue(netdev);
	/* Either NAPI sees the queue stopped, or this thread sees what it has freed. */
	smp_mb__after_atomic();
	if (pvhca_netq_tx_room(q) >= PVHCA_NETQ_TX / 2)
		netif_start_queue(netdev);
}

/* The packets up to index last have been sent. */
static void pvhca_netq_sent(struct pvhca_netq *q, u32 last, int budget)
{
	struct pvhca_netq_tx *tx;
	u32 tail;

	for (tail = q->tx_tail; tail != last + 1; tail++) {
		tx = &q->tx[tail % PVHCA_NETQ_TX];
		if (!tx->skb)
			continue;
		pvhca_netq_unmap(q, tx, skb_shinfo(tx->skb)->nr_frags);
		napi_consume_skb(tx->skb, budget);
		tx->skb = NULL;
	}
	smp_store_release(&q->tx_tail, tail);
}

static void pvhca_netq_wake(struct pvhca_netq *q)
{
	/* See pvhca_netq_xmit(). */
	smp_mb();
	if (netif_queue_stopped(q->netdev) && pvhca_netq_tx_room(q) >= PVHCA_NETQ_TX / 2)
		netif_wake_queue(q->netdev);
}

/* --------------------------------- receive --------------------------------- */

static void pvhca_netq_free_pages(struct pvhca_netq *q, struct pvhca_netq_rx *rx, int pages)
{
	int i;

	for (i = 0; i < pages; i++) {
		dma_unmap_page(pvhca_netq_dma_device(q), rx->pages[i].dma, PAGE_SIZE,
			       DMA_FROM_DEVICE);
		__free_page(rx->pages[i].page);
	}
}

static int pvhca_netq_alloc_pages(struct pvhca_netq *q, struct pvhca_netq_rx *rx, int pages,
				  gfp_t gfp)
{
	struct pvhca_netq_page *page;
	int i;

	for (i = 0; i < pages; i++) {
		page = &rx->pages[i];
		page->page = alloc_page(gfp | __GFP_NOWARN);
		if (!page->page)
			break;
		page->dma = dma_map_page(pvhca_netq_dma_device(q), page->page, 0, PAGE_SIZE,
					 DMA_FROM_DEVICE);
		if (dma_mapping_error(pvhca_netq_dma_device(q), page->dma)) {
			__free_page(page->page);
			break;
		}
	}
	if (i == pages)
		return 0;
	pvhca_netq_free_pages(q, rx, i);
	return -ENOMEM;
}

static int pvhca_netq_alloc_buffer(struct pvhca_netq *q, struct pvhca_netq_rx *rx)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);

	rx->data = netdev_alloc_frag(q->buf_size);
	if (!rx->data)
		return -ENOMEM;
	rx->dma = dma_map_single(dma_dev, rx->data + PVHCA_NETQ_HEADROOM, q->mtu, DMA_FROM_DEVICE);
	if (!dma_mapping_error(dma_dev, rx->dma))
		return 0;
	skb_free_frag(rx->data);
	rx->data = NULL;
	return -ENOMEM;
}

static void pvhca_netq_unmap_buffer(struct pvhca_netq *q, const struct pvhca_netq_rx *rx)
{
	dma_unmap_single(pvhca_netq_dma_device(q), rx->dma, q->mtu, DMA_FROM_DEVICE);
}

/* A buffer, and the first pages. On failure there is neither. */
static int pvhca_netq_rx_alloc(struct pvhca_netq *q, struct pvhca_netq_rx *rx, int pages, gfp_t gfp)
{
	int err = pvhca_netq_alloc_pages(q, rx, pages, gfp);

	if (err) {
		rx->data = NULL;
		return err;
	}
	err = pvhca_netq_alloc_buffer(q, rx);
	if (err)
		pvhca_netq_free_pages(q, rx, pages);
	return err;
}

static void pvhca_netq_rx_free(struct pvhca_netq *q, struct pvhca_netq_rx *rx, int pages)
{
	pvhca_netq_unmap_buffer(q, rx);
	skb_free_frag(rx->data);
	pvhca_netq_free_pages(q, rx, pages);
}

static void pvhca_netq_refill_add(struct pvhca_netq *q, u32 i)
{
	struct pvhca_netq_refill *refill = &q->refill;
	struct ib_recv_wr *wr = &refill->wr[refill->count];
	struct ib_sge *sge = refill->sge[refill->count];
	const struct pvhca_netq_rx *rx = &q->rx[i];
	unsigned int page;

	sge[0] = (struct ib_sge){ rx->dma, q->mtu, PVHCA_LKEY_DMA };
	for (page = 0; page < q->rx_pages; page++)
		sge[1 + page] = (struct ib_sge){ rx->pages[page].dma, PAGE_SIZE, PVHCA_LKEY_DMA };
	*wr = (struct ib_recv_wr){
		.wr_id = PVHCA_NETQ_WR_RX | i,
		.sg_list = sge,
		.num_sge = 1 + q->rx_pages,
	};
	if (refill->count)
		wr[-1].next = wr;
	refill->count++;
}

static void pvhca_netq_refill_post(struct pvhca_netq *q)
{
	if (q->refill.count)
		WARN_ON_ONCE(ib_post_recv(q->qp, q->refill.wr, NULL));
	q->refill.count = 0;
}

/* A copy of a short packet; its buffer stays. */
static struct sk_buff *pvhca_netq_copy(struct pvhca_netq *q, const struct pvhca_netq_rx *rx,
				       u32 len)
{
	struct device *dma_dev = pvhca_netq_dma_device(q);
	struct sk_buff *skb = napi_alloc_skb(&q->napi, ETH_HLEN + len);

	if (!skb)
		return NULL;
	skb_reserve(skb, ETH_HLEN);
	dma_sync_single_for_cpu(dma_dev, rx->dma, len, DMA_FROM_DEVICE);
	skb_put_data(skb, rx->data + PVHCA_NETQ_HEADROOM, len);
	dma_sync_single_for_device(dma_dev, rx->dma, len, DMA_FROM_DEVICE);
	return skb;
}

/* Pages of a receive go into skb, which has len bytes in them. */
static void pvhca_netq_add_pages(struct pvhca_netq *q, struct sk_buff *skb,
				 const struct pvhca_netq_rx *rx, u32 len)
{
	u32 i, n;

	for (i = 0; len; i++, len -= n) {
		n = min_t(u32, len, PAGE_SIZE);
		dma_unmap_page(pvhca_netq_dma_device(q), rx->pages[i].dma, PAGE_SIZE,
			       DMA_FROM_DEVICE);
		skb_add_rx_frag(skb, i, rx->pages[i].page, 0, n, PAGE_SIZE);
	}
}

/* The packet where it lies; the receive gets others for what that takes. */
static struct sk_buff *pvhca_netq_build(struct pvhca_netq *q, struct pvhca_netq_rx *rx, u32 len)
{
	const u32 linear = min(len, q->mtu);
	const int pages = DIV_ROUND_UP(len - linear, PAGE_SIZE);
	struct pvhca_netq_rx next;
	struct sk_buff *skb;

	if (pvhca_netq_rx_alloc(q, &next, pages, GFP_ATOMIC))
		return NULL;
	skb = build_skb(rx->data, q->buf_size);
	if (!skb) {
		pvhca_netq_rx_free(q, &next, pages);
		return NULL;
	}
	pvhca_netq_unmap_buffer(q, rx);
	skb_reserve(skb, PVHCA_NETQ_HEADROOM);
	skb_put(skb, linear);
	pvhca_netq_add_pages(q, skb, rx, len - linear);
	rx->data = next.data;
	rx->dma = next.dma;
	memcpy(rx->pages, next.pages, pages * sizeof(rx->pages[0]));
	return skb;
}

/* The packet stands for several: as a host that is not trusted says. */
static void pvhca_netq_set_segment(struct sk_buff *skb, u16 segment, bool ipv6)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);

	shinfo->gso_size = segment;
	shinfo->gso_type = (ipv6 ? SKB_GSO_TCPV6 : SKB_GSO_TCPV4) | SKB_GSO_DODGY;
	shinfo->gso_segs = 0;
}

/* Give a packet, whose first byte is that of the IP header, to the network stack. */
static void pvhca_netq_give(struct pvhca_netq *q, struct sk_buff *skb, const struct ib_wc *wc)
{
	struct net_device *netdev = q->netdev;
	bool ipv6 = *skb->data >> 4 == 6;
	struct ethhdr *eth;

	if (wc->src_qp && !skb_partial_csum_set(skb, wc->src_qp & 0xffff, wc->src_qp >> 16)) {
		netdev->stats.rx_errors++;
		dev_kfree_skb_any(skb);
		return;
	}
	if (wc->pkey_index && wc->src_qp)
		pvhca_netq_set_segment(skb, wc->pkey_index, ipv6);
	eth = skb_push(skb, ETH_HLEN);
	ether_addr_copy(eth->h_dest, netdev->dev_addr);
	ether_addr_copy(eth->h_source, netdev->dev_addr);
	eth->h_proto = htons(ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	skb->protocol = eth_type_trans(skb, netdev);
	if (wc->wc_flags & IB_WC_WITH_VLAN)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), wc->vlan_id);
	netdev->stats.rx_packets++;
	netdev->stats.rx_bytes += wc->byte_len;
	napi_gro_receive(&q->napi, skb);
}

static void pvhca_netq_received(struct pvhca_netq *q, const struct ib_wc *wc)
{
	struct pvhca_netq_rx *rx = &q->rx[wc->wr_id & (PVHCA_NETQ_RX - 1)];
	struct sk_buff *skb;

	if (!wc->byte_len || wc->byte_len > q->mtu + q->rx_pages * PAGE_SIZE) {
		q->netdev->stats.rx_errors++;
		return;
	}
	if (wc->byte_len <= PVHCA_NETQ_COPY)
		skb = pvhca_netq_copy(q, rx, wc->byte_len);
	else
		skb = pvhca_netq_build(q, rx, wc->byte_len);
	if (!skb) {
		q->netdev->stats.rx_dropped++;
		return;
	}
	pvhca_netq_give(q, skb, wc);
}

/* ----------------------------------- NAPI ---------------------------------- */

static void pvhca_netq_failed(struct pvhca_netq *q, const struct ib_wc *wc)
{
	if (wc->status != IB_WC_WR_FLUSH_ERR)
		netdev_err(q->netdev, "packets stop: completion with %s\n",
			   ib_wc_status_msg(wc->status));
}

/* Returns the number of packets received among n completions. */
static int pvhca_netq_handle(struct pvhca_netq *q, int n, int budget)
{
	const struct ib_wc *wc;
	int received = 0;

	for (wc = q->wc; wc < q->wc + n; wc++) {
		if (unlikely(wc->status != IB_WC_SUCCESS)) {
			pvhca_netq_failed(q, wc);
			continue;
		}
		if (!(wc->wr_id & PVHCA_NETQ_WR_RX)) {
			pvhca_netq_sent(q, wc->wr_id, budget);
			continue;
		}
		pvhca_netq_received(q, wc);
		pvhca_netq_refill_add(q, wc->wr_id & (PVHCA_NETQ_RX - 1));
		received++;
	}
	pvhca_netq_refill_post(q);
	return received;
}

static int pvhca_netq_poll(struct napi_struct *napi, int budget)
{
	struct pvhca_netq *q = container_of(napi, struct pvhca_netq, napi);
	int received = 0, polled = 0, n;

	/* Sends cost little, but there may be more and more of them. */
	while (received < budget && polled < 4 * budget) {
		n = ib_poll_cq(q->cq, min(PVHCA_NETQ_WC, budget - received), q->wc);
		if (n <= 0)
			break;
		polled += n;
		received += pvhca_netq_handle(q, n, budget);
	}
	pvhca_netq_wake(q);
	if (received >= budget || polled >= 4 * budget)
		return budget;
	if (napi_complete_done(napi, received) &&
	    ib_req_notify_cq(q->cq, IB_CQ_NEXT_COMP | IB_CQ_REPORT_MISSED_EVENTS) > 0)
		napi_schedule(napi);
	return received;
}

/* Of the interrupt handler, or flush_work. */
static void pvhca_netq_event(struct ib_cq *cq, void *context)
{
	struct pvhca_netq *q = context;

	napi_schedule(&q->napi);
}

/* ----------------------------- create and destroy -------------------------- */

static void pvhca_netq_free_buffers(struct pvhca_netq *q)
{
	int i;

	/* What is not freed is lost: pvhcad may still write to it. */
	if (!pvhca_dev_may_free(q->dev))
		return;
	for (i = 0; i < PVHCA_NETQ_RX && q->rx[i].data; i++)
		pvhca_netq_rx_free(q, &q->rx[i], q->rx_pages);
	if (q->tx_head != q->tx_tail)
		pvhca_netq_sent(q, q->tx_head - 1, 0);
}

static int pvhca_netq_fill(struct pvhca_netq *q)
{
	int i, err;

	for (i = 0; i < PVHCA_NETQ_RX; i++) {
		err = pvhca_netq_rx_alloc(q, &q->rx[i], q->rx_pages, GFP_KERNEL);
		if (err)
			return err;
		pvhca_netq_refill_add(q, i);
		if (q->refill.count == PVHCA_NETQ_WC)
			pvhca_netq_refill_post(q);
	}
	return 0;
}

/* PD, CQ and QP. */
static int pvhca_netq_make_queues(struct pvhca_netq *q)
{
	const struct ib_cq_init_attr cq_attr = { .cqe = PVHCA_NETQ_TX + PVHCA_NETQ_RX };
	struct ib_qp_init_attr attr = {
		.cap = {
			.max_send_wr = PVHCA_NETQ_TX,
			.max_recv_wr = PVHCA_NETQ_RX,
			.max_send_sge = PVHCA_NETQ_SGE,
			.max_recv_sge = 1 + q->rx_pages,
			.max_inline_data = PVHCA_NETQ_INLINE,
		},
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.qp_type = IB_QPT_DRIVER,
		.port_num = PVHCA_PORT,
	};
	struct ib_device *ibdev = &q->dev->ibdev;

	q->pd = ib_alloc_pd(ibdev, 0);
	if (IS_ERR(q->pd))
		return PTR_ERR(q->pd);
	q->cq = ib_create_cq(ibdev, pvhca_netq_event, NULL, q, &cq_attr);
	if (IS_ERR(q->cq)) {
		ib_dealloc_pd(q->pd);
		return PTR_ERR(q->cq);
	}
	attr.send_cq = q->cq;
	attr.recv_cq = q->cq;
	q->qp = ib_create_qp(q->pd, &attr);
	if (IS_ERR(q->qp)) {
		ib_destroy_cq(q->cq);
		ib_dealloc_pd(q->pd);
		return PTR_ERR(q->qp);
	}
	return 0;
}

static void pvhca_netq_end_queues(struct pvhca_netq *q)
{
	ib_destroy_qp(q->qp);
	ib_destroy_cq(q->cq);
	ib_dealloc_pd(q->pd);
}

/**
 * pvhca_netq_is_offered - does pvhcad carry packets?
 * @dev: session, enabled
 */
bool pvhca_netq_is_offered(const struct pvhca_dev *dev)
{
	return (dev->features & PVHCA_FEATURE_NET) && dev->kctx;
}

/**
 * pvhca_netq_create - have packets carried
 * @dev: session, registered; it offers that
 * @netdev: interface of @dev, with the MTU that counts
 *
 * Context: process, with rtnl_lock().
 * Return: queues, which receive already, or a negative errno.
 */
struct pvhca_netq *pvhca_netq_create(struct pvhca_dev *dev, struct net_device *netdev)
{
	struct pvhca_netq *q;
	int err;

	ASSERT_RTNL();
	q = vzalloc(sizeof(*q));
	if (!q)
		return ERR_PTR(-ENOMEM);
	q->dev = dev;
	q->netdev = netdev;
	q->mtu = netdev->mtu;
	q->rx_pages = dev->features & PVHCA_FEATURE_NET_TSO ? PVHCA_NETQ_PAGES : 0;
	q->buf_size = SKB_DATA_ALIGN(PVHCA_NETQ_HEADROOM + q->mtu) +
		SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
	netif_napi_add(netdev, &q->napi, pvhca_netq_poll);
	err = pvhca_netq_make_queues(q);
	if (err)
		goto err_free;
	err = pvhca_netq_fill(q);
	if (err)
		goto err_end;
	napi_enable(&q->napi);
	/* NAPI arms the CQ when it has looked. */
	local_bh_disable();
	napi_schedule(&q->napi);
	local_bh_enable();
	return q;

err_end:
	pvhca_netq_end_queues(q);
	pvhca_netq_free_buffers(q);
err_free:
	netif_napi_del(&q->napi);
	vfree(q);
	return ERR_PTR(err);
}

/**
 * pvhca_netq_destroy - undo it
 * @q: queues that no packet is given to any more
 *
 * Context: process, with rtnl_lock().
 */
void pvhca_netq_destroy(struct pvhca_netq *q)
{
	ASSERT_RTNL();
	napi_disable(&q->napi);
	/* No event of the CQ is handled on return. */
	pvhca_netq_end_queues(q);
	netif_napi_del(&q->napi);
	pvhca_netq_free_buffers(q);
	vfree(q);
}
